// Code that was written for accelerators counts integers with histc, which the CPU has for floats only.
#include "ops.h"

#include "core/recorder.h"

#include <torch/library.h>

namespace genie {
namespace {

at::Tensor histc(const at::Tensor& self, int64_t bins, const at::Scalar& min, const at::Scalar& max) {
  const bool is_count = c10::isIntegralType(self.scalar_type(), /*includeBool=*/false);
  if (is_count && on_cpu(self)) return at::histc(self.to(at::kDouble), bins, min, max).to(self.scalar_type());
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::histc", "");
  torch::jit::Stack stack{self, bins, min, max};
  record(op, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), &stack);
  return stack.at(0).toTensor();
}

}  // namespace
}  // namespace genie

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) { m.impl("histc", TORCH_FN(genie::histc)); }
