// scaled_dot_product_attention chooses among kernels by device. Where the executor is a CPU the CPU's
// choice is made here.
#include "ops.h"

#include "core/geometry.h"
#include "core/recorder.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <map>
#include <string>

#if GENIE_SDP_STUB
#include <ATen/native/transformers/attention.h>
#elif GENIE_SDP_SHARED_FLASH
#include <ATen/ops/scaled_dot_product_attention_native.h>
#endif

#if GENIE_SDP_STUB || GENIE_SDP_SHARED_FLASH
namespace genie {
namespace {

// Numbers that stand for sizes which torch.compile keeps open: the same one for the same expression.
class Sizes {
 public:
  at::DimVector plain(c10::SymIntArrayRef sizes) {
    at::DimVector result;
    for (const auto& size : sizes) result.push_back(plain(size));
    return result;
  }

 private:
  int64_t plain(const c10::SymInt& size) {
    if (const auto known = size.maybe_as_int()) return *known;
    const auto [place, _] = numbers_.emplace(size.toSymNode()->str(), kUnlikely + static_cast<int64_t>(numbers_.size()));
    return place->second;
  }
  static constexpr int64_t kUnlikely = 1009;  // as a size that is given as a number
  std::map<std::string, int64_t> numbers_;
};

// The same metadata on the CPU, without memory behind it. `torch.func`'s wrappers have no storage to ask.
at::Tensor cpu_twin(const at::Tensor& tensor, Sizes& sizes) {
  const auto size = sizes.plain(tensor.sym_sizes()), stride = sizes.plain(tensor.sym_strides());
  const auto nbytes = at::detail::computeStorageNbytes(size, stride, tensor.element_size());
  const c10::Storage storage(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), nbytes, at::DataPtr(nullptr, c10::Device(c10::kCPU)), nullptr, false));
  auto twin = make_view_unchecked(storage, c10::DispatchKey::CPU, tensor.scalar_type(), 0, 0, size, stride);
  if (tensor.requires_grad()) twin.set_requires_grad(true);
  return twin;
}

// Which kernel scaled_dot_product_attention would take on the executor. Tracers do not see the question.
template <typename... Options>
int64_t choose_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const Optional<at::Tensor>& mask, double dropout_p, bool is_causal, Options... options) {
  constexpr int64_t kMath = 0;
  if (!on_cpu(query)) return kMath;
  const c10::impl::ExcludeDispatchKeyGuard untraced(
      c10::DispatchKeySet({c10::DispatchKey::Python, c10::DispatchKey::PythonTLSSnapshot, c10::DispatchKey::PythonDispatcher}));
  Sizes sizes;
  const auto twin = [&](const at::Tensor& tensor) { return cpu_twin(tensor, sizes); };
  const auto twin_mask = mask && mask->defined() ? Optional<at::Tensor>(twin(*mask)) : Optional<at::Tensor>();
  return at::_fused_sdp_choice(twin(query), twin(key), twin(value), twin_mask, dropout_p, is_causal, options...);
}

}  // namespace
}  // namespace genie
#endif

#if GENIE_SDP_STUB
namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, (&genie::choose_attention<genie::Optional<double>, bool>))
}
#elif GENIE_SDP_SHARED_FLASH
namespace genie {
namespace {

at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                     const Optional<at::Tensor>& mask, double dropout_p, bool is_causal, Optional<double> scale) {
  constexpr int64_t kFlash = 1;
  const auto is_like_query = [&](const at::Tensor& tensor) {
    return tensor.dim() == 4 && tensor.device() == query.device() && tensor.dtype() == query.dtype();
  };
  if (is_like_query(query) && is_like_query(key) && is_like_query(value) &&
      choose_attention(query, key, value, mask, dropout_p, is_causal, scale) == kFlash) {
    return std::get<0>(at::_scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, false, scale));
  }
  return at::native::scaled_dot_product_attention(query, key, value, mask, dropout_p, is_causal, scale);
}

std::tuple<at::Tensor, at::Tensor> flash_on_cpu(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                                double dropout_p, bool is_causal, Optional<double> scale) {
  const auto results = at::_scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, false, scale);
  return {std::get<0>(results), std::get<1>(results)};
}

// An op that gives ints would have to ask the executor each time. On the CPU they, and all but the first
// two tensors, say nothing.
void record_flash(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  constexpr size_t kArguments = 7;
  constexpr size_t kDebugMask = 5;
  const auto first = stack->end() - kArguments;
  const auto query = first->toTensor();
  if (!on_cpu(query)) return record(op, keys, stack);
  static const auto flash = c10::Dispatcher::singleton().findSchemaOrThrow("genie::flash_attention", "");
  stack->erase(first + kDebugMask);
  record(flash, keys, stack);
  const auto nothing = at::empty({}, query.options().dtype(at::kLong));
  torch::jit::push(*stack, nothing, nothing, int64_t{0}, int64_t{0}, nothing, nothing, at::empty({}, query.options()));
}

}  // namespace
}  // namespace genie

TORCH_LIBRARY_FRAGMENT(genie, m) {
  m.def(
      "flash_attention(Tensor query, Tensor key, Tensor value, float dropout_p, bool is_causal, *, float? scale) -> "
      "(Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(genie, CPU, m) { m.impl("flash_attention", TORCH_FN(genie::flash_on_cpu)); }

TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) { m.impl("scaled_dot_product_attention", TORCH_FN(genie::attention)); }
TORCH_LIBRARY_IMPL(aten, AutogradOther, m) { m.impl("scaled_dot_product_attention", TORCH_FN(genie::attention)); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("scaled_dot_product_attention", TORCH_FN(genie::attention));
  m.impl("_scaled_dot_product_flash_attention", torch::CppFunction::makeFromBoxedFunction<&genie::record_flash>());
}
#endif
