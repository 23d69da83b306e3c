// Autocast for the device: torch's own policies and lists of ops, as an accelerator has them.
#include "ops.h"

#if GENIE_AUTOCAST
#include <ATen/autocast_mode.h>
#include <torch/library.h>

namespace genie {
namespace {

at::Tensor binary_cross_entropy_refused(const at::Tensor&, const at::Tensor&, const Optional<at::Tensor>&, int64_t) {
  TORCH_CHECK(false,
              "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
              "Use torch.nn.functional.binary_cross_entropy_with_logits or torch.nn.BCEWithLogitsLoss instead: they "
              "combine a sigmoid layer with the loss, and are safe to autocast.");
}

}  // namespace

void register_autocast() {
  library_of("_", c10::DispatchKey::AutocastPrivateUse1).fallback(torch::CppFunction::makeFallthrough());
  auto& m = library_of("aten", c10::DispatchKey::AutocastPrivateUse1);
  using namespace at;  // torch's macros name its types plainly, one that later releases lack among them
  using at::autocast::CastPolicy;
#define GENIE_LOWER(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define GENIE_FP32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define GENIE_FP32_DTYPE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
#define GENIE_PROMOTE(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
  AT_FORALL_LOWER_PRECISION_FP(GENIE_LOWER)
  GENIE_LOWER(mkldnn_rnn_layer)  // as on the CPU, whose recurrent layers these are
  AT_FORALL_FP32(GENIE_FP32)
  AT_FORALL_FP32_SET_OPT_DTYPE(GENIE_FP32_DTYPE)
  AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(KERNEL_DIFFERENT_REDISPATCH_SIGNATURE_PRIVATEUSEONE)
  AT_FORALL_PROMOTE(GENIE_PROMOTE)
  m.impl("binary_cross_entropy", TORCH_FN(binary_cross_entropy_refused));
}

}  // namespace genie
#else
void genie::register_autocast() {}
#endif
