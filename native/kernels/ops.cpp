// The kernels that a device must give itself: allocation, views on its own storage, copies and reads.
#include "ops.h"

#include "core/device.h"
#include "core/recorder.h"
#include "regions/control.h"
#include "shadow/shadow.h"

#include <ATen/EmptyTensor.h>
#include <ATen/InferSize.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>

namespace genie::ops {
namespace {

constexpr auto kKeys = c10::DispatchKeySet(c10::DispatchKey::PrivateUse1);

bool is_ours(const at::Tensor& tensor) { return tensor.device().is_privateuseone(); }

Value* value_of(const at::Tensor& tensor) { return genie::value_of(*tensor.unsafeGetTensorImpl()); }

// Can `source` become the whole content of the storage behind `target`?
bool fills_storage(const at::Tensor& target) {
  return target.storage_offset() == 0 && target.is_non_overlapping_and_dense() && !target.is_conj() &&
         !target.is_neg() && target.nbytes() == target.storage().nbytes();
}

// Sends a CPU tensor as the content of a tensor that nothing was written to so far.
bool upload_whole(const at::Tensor& target, const at::Tensor& source) {
  if (!fills_storage(target) || target.dtype() != source.dtype() || target.sizes() != source.sizes()) return false;
  auto* value = value_of(target);
  if (!claim_upload(value)) return false;
  at::Tensor laid_out = source;
  if (source.strides() != target.strides() || source.is_conj() || source.is_neg() || source.requires_grad()) {
    laid_out = at::empty_strided(target.sizes(), target.strides(), source.options().requires_grad(false));
    laid_out.copy_(source.detach());
  }
  host().put(value->device, value->id, laid_out.data_ptr(), laid_out.nbytes());
  if (auto shadow = shadow_from(laid_out)) set_shadow(value, std::move(shadow));
  return true;
}

void record_copy(const at::Tensor& target, const at::Tensor& source, bool non_blocking) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::copy_", "");
  torch::jit::Stack stack{target, source, non_blocking};
  record(op, kKeys, &stack);
}

void upload(const at::Tensor& target, const at::Tensor& source) {
  check_device(target.device().index());
  if (target.numel() == 0) return;
  // Of a branch or a body it is a copy each time: what it writes there is no constant.
  if (!in_region(target.device().index()) && upload_whole(target, source)) return;
  const auto staged = at::empty(source.sizes(), source.options().device(target.device()).pinned_memory(false)
                                                    .requires_grad(false).memory_format(at::MemoryFormat::Contiguous));
  TORCH_INTERNAL_ASSERT(source.numel() == 0 || upload_whole(staged, source));
  record_copy(target, staged, false);
}

// The content of a device tensor as a contiguous CPU tensor.
at::Tensor download(const at::Tensor& source) {
  auto result = at::empty(source.sizes(), source.options().device(at::kCPU).pinned_memory(false).requires_grad(false)
                                              .memory_format(at::MemoryFormat::Contiguous));
  if (source.numel() == 0) return result;
  auto* value = value_of(source);
  if (const auto shadow = shadow_of(value)) {
    result.copy_(make_view(shadow, geometry_of(source)));
    return result;
  }
  materialize(value);
  host().flush(value->device, FlushReason::Read);
  auto view = geometry_of(source);
  view.flags &= static_cast<uint8_t>(~kWrapped);
  host().read(value->device, value->id, view, result.data_ptr(), result.nbytes());
  return result;
}

}  // namespace

at::Tensor empty_memory_format(at::IntArrayRef size, Optional<at::ScalarType> dtype, Optional<at::Layout> layout,
                               Optional<at::Device> device, Optional<bool> pin_memory,
                               Optional<at::MemoryFormat> memory_format) {
  TORCH_CHECK_NOT_IMPLEMENTED(c10::layout_or_default(layout) == c10::kStrided,
                              "remote_accelerator has strided tensors only, not ", c10::layout_or_default(layout));
  TORCH_CHECK(!c10::pinned_memory_or_default(pin_memory), "Only dense CPU tensors can be pinned");
  const c10::DeviceGuard guard(c10::device_or_default(device));
  check_device(current_device());
  register_ops();
  return at::detail::empty_generic(size, allocator(), kKeys, c10::dtype_or_default(dtype), memory_format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, Optional<at::ScalarType> dtype,
                         Optional<at::Layout>, Optional<at::Device> device, Optional<bool>) {
  const c10::DeviceGuard guard(c10::device_or_default(device));
  check_device(current_device());
  register_ops();
  return at::detail::empty_strided_generic(size, stride, allocator(), kKeys, c10::dtype_or_default(dtype));
}

// Elsewhere a tensor without memory; ordinary zeros can be named, viewed and written to.
at::Tensor efficient_zero_tensor(at::IntArrayRef size, Optional<at::ScalarType> dtype, Optional<at::Layout> layout,
                                 Optional<at::Device> device, Optional<bool> pin_memory) {
  return at::zeros(size, dtype, layout, device, pin_memory);
}

at::Tensor as_strided(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride, Optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}
at::Tensor view(const at::Tensor& self, at::IntArrayRef size) { return at::native::view(self, size); }
at::Tensor reshape_alias(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride) {
  return at::native::_reshape_alias(self, size, stride);
}
at::Tensor unfold(const at::Tensor& self, int64_t dim, int64_t size, int64_t step) {
  return at::native::unfold(self, dim, size, step);
}
at::Tensor view_as_real(const at::Tensor& self) { return at::native::view_as_real(self); }
at::Tensor view_as_complex(const at::Tensor& self) { return at::native::view_as_complex(self); }

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  if (self.is_same(source)) return self;
  if (is_ours(self) && is_ours(source)) {
    if (self.device() == source.device()) {
      record_copy(self, source, non_blocking);
      return self;
    }
    upload(self, download(source).expand(self.sizes()));
    return self;
  }
  if (is_ours(self)) {
    TORCH_CHECK(source.device().is_cpu(), "copies between remote_accelerator and ", source.device(),
                " go through the CPU: call .cpu() first");
    // The shape check is eager's own, with its message.
    static_cast<void>(at::infer_size(self.sizes(), source.sizes()));
    upload(self, source);
  } else {
    self.copy_(download(source));
  }
  return self;
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& target, bool non_blocking) {
  auto result = target;
  copy_(result, self, non_blocking);
  return result;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& target) {
  auto result = target;
  if (result.sizes() != self.sizes()) result.resize_(self.sizes());
  copy_(result, self, false);
  return result;
}

at::Scalar local_scalar_dense(const at::Tensor& self) { return download(self).item(); }

namespace {
// Lays the tensor out anew, growing its storage if it must.
void set_layout(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride, int64_t offset) {
  Geometry g = geometry_of(self);
  g.size = size;
  g.stride = stride;
  g.offset = offset;
  const auto needed = extent_of(g);
  if (needed > self.storage().nbytes()) resize_storage(self.storage(), needed);
  self.unsafeGetTensorImpl()->set_sizes_and_strides(size, stride, offset);
}
}  // namespace

const at::Tensor& resize_(const at::Tensor& self, at::IntArrayRef size, Optional<at::MemoryFormat> memory_format) {
  if (self.sizes() == size && !memory_format.has_value()) return self;
  const auto shape = at::detail::empty_generic(size, c10::GetAllocator(c10::kMeta), c10::DispatchKeySet(c10::DispatchKey::Meta),
                                               self.scalar_type(), memory_format);
  set_layout(self, size, shape.strides(), self.storage_offset());
  return self;
}

at::Tensor& set_source_storage_offset(at::Tensor& self, at::Storage source, int64_t offset, at::IntArrayRef size,
                                      at::IntArrayRef stride) {
  TORCH_CHECK(source.device_type() == c10::kPrivateUse1, "Attempted to set the storage of a tensor on device \"",
              self.device(), "\" to a storage on different device \"", source.device(), "\"");
  at::DimVector contiguous(size.size());
  if (stride.empty() && self.sizes() == size) {  // as resize_ leaves them
    contiguous = self.strides();
    stride = contiguous;
  } else if (stride.empty()) {
    int64_t step = 1;
    for (size_t i = size.size(); i-- > 0;) {
      contiguous[i] = step;
      step *= std::max<int64_t>(size[i], 1);
    }
    stride = contiguous;
  }
  if (self.sizes() == size && self.strides() == stride) {  // resize_ would not look, and so not grow
    at::native::checkInBoundsForStorage(size, stride, offset, self.dtype(), source);
  }
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(source);
  set_layout(self, size, stride, offset);
  return self;
}

at::Tensor& set_source_storage(at::Tensor& self, at::Storage source) {
  const auto count = static_cast<int64_t>(source.nbytes() / self.dtype().itemsize());
  return set_source_storage_offset(self, source, 0, {count}, {});
}

at::Tensor& set_source_tensor(at::Tensor& self, const at::Tensor& source) {
  return set_source_storage_offset(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

at::Tensor& set_empty(at::Tensor& self) {
  return set_source_storage_offset(self, make_storage(0, self.device().index()), 0, {0}, {1});
}

void record_stream(at::Tensor&, at::Stream) {}  // one stream: nothing can overtake

}  // namespace genie::ops
