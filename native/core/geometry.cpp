#include "geometry.h"

namespace genie {

bool is_dtype(int64_t value) {
  if (value < 0 || value >= static_cast<int64_t>(at::ScalarType::NumOptions)) return false;
  const auto dtype = static_cast<at::ScalarType>(value);
  return dtype != at::ScalarType::Undefined && !c10::isQIntType(dtype);
}

Geometry geometry_of(const at::Tensor& tensor) {
  Geometry g;
  g.dtype = tensor.scalar_type();
  g.flags = (tensor.is_conj() ? kConj : 0) | (tensor.is_neg() ? kNeg : 0) |
            (tensor.unsafeGetTensorImpl()->is_wrapped_number() ? kWrapped : 0);
  g.offset = tensor.storage_offset();
  g.size = tensor.sizes();
  g.stride = tensor.strides();
  return g;
}

size_t extent_of(const Geometry& g) {
  TORCH_CHECK_VALUE(g.size.size() == g.stride.size(), "sizes and strides differ in length");
  TORCH_CHECK_VALUE(g.offset >= 0, "negative storage offset");
  int64_t last = g.offset;
  bool empty = false;
  bool overflow = false;
  for (size_t i = 0; i < g.size.size(); ++i) {
    TORCH_CHECK_VALUE(g.size[i] >= 0 && g.stride[i] >= 0, "negative size or stride");
    if (g.size[i] == 0) {
      empty = true;
      continue;
    }
    int64_t step = 0;
    overflow |= __builtin_mul_overflow(g.size[i] - 1, g.stride[i], &step);
    overflow |= __builtin_add_overflow(last, step, &last);
  }
  int64_t bytes = 0;
  overflow |= __builtin_add_overflow(last, int64_t(1), &last);
  overflow |= __builtin_mul_overflow(last, int64_t(c10::elementSize(g.dtype)), &bytes);
  TORCH_CHECK_VALUE(!overflow, "geometry overflows");
  return empty ? 0 : static_cast<size_t>(bytes);
}

c10::DispatchKey backend_key(c10::DeviceType type) {
  return c10::computeDispatchKey(nullopt, nullopt, c10::Device(type));
}

at::Tensor make_view_unchecked(const c10::Storage& storage, c10::DispatchKey key, at::ScalarType dtype,
                               uint8_t flags, int64_t offset, at::IntArrayRef size, at::IntArrayRef stride) {
  auto tensor = at::detail::make_tensor<c10::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(key),
                                                         c10::scalarTypeToTypeMeta(dtype));
  auto* impl = tensor.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(size, stride, offset);
  if (flags != 0) {
    if (flags & kConj) tensor._set_conj(true);
    if (flags & kNeg) tensor._set_neg(true);
    if (flags & kWrapped) impl->set_wrapped_number(true);
  }
  return tensor;
}

at::Tensor make_view(const c10::Storage& storage, const Geometry& g) {
  TORCH_CHECK_VALUE(extent_of(g) <= storage.nbytes(), "a view of ", extent_of(g), " bytes on a storage of ",
                    storage.nbytes());
  return make_view_unchecked(storage, backend_key(storage.device_type()), g.dtype, g.flags, g.offset, g.size,
                             g.stride);
}

}  // namespace genie
