// Composite ops that take another path on an accelerator than on the CPU. Where the executor is a
// CPU they are recorded in the CPU's form, so that its bits come back.
#include "ops.h"

#include "core/device.h"
#include "core/host.h"

#include <ATen/ATen.h>
#include <torch/library.h>

namespace genie {

bool on_cpu(const at::Tensor& tensor) {
  if (!tensor.device().is_privateuseone()) return false;
  return host().executor_type(tensor.device().index()) == c10::DeviceType::CPU;
}

namespace {

// Tracers make other ops of what writes to new memory, and forget how that lies.
bool is_traced(const at::Tensor& tensor) { return tensor.key_set().has(c10::DispatchKey::Python); }

at::Tensor dropout(const at::Tensor& input, double p, bool train) {
  TORCH_CHECK(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got ", p);
  if (p == 0 || !train || input.sym_numel() == 0) return input;
  if (p == 1) return input.mul(at::zeros({}, input.options()));
  if (!on_cpu(input) || is_traced(input)) return std::get<0>(at::native_dropout(input, p, train));
  const auto noise = at::empty_like(input).bernoulli_(1 - p).div_(1 - p);
  return input.mul(noise);
}

at::Tensor with_bias(const at::Tensor& gates, const Optional<at::Tensor>& bias) {
  return bias.has_value() && bias->defined() ? gates + *bias : gates;
}

// PyTorch gives accelerators fused cells, which the CPU has no kernels for. These are the CPU's formulas;
// autograd differentiates them, so nothing reads the workspaces, which have the shapes of cuda's.
std::tuple<at::Tensor, at::Tensor, at::Tensor> lstm_cell(const at::Tensor& input_gates, const at::Tensor& hidden_gates,
                                                         const at::Tensor& cx, const Optional<at::Tensor>& input_bias,
                                                         const Optional<at::Tensor>& hidden_bias) {
  const auto gates = (with_bias(hidden_gates, hidden_bias) + with_bias(input_gates, input_bias)).chunk(4, 1);
  const auto cy = gates[1].sigmoid() * cx + gates[0].sigmoid() * gates[2].tanh();
  const auto hy = gates[3].sigmoid() * cy.tanh();
  return {hy, cy, at::empty_like(input_gates)};
}

std::tuple<at::Tensor, at::Tensor> gru_cell(const at::Tensor& input_gates, const at::Tensor& hidden_gates,
                                            const at::Tensor& hx, const Optional<at::Tensor>& input_bias,
                                            const Optional<at::Tensor>& hidden_bias) {
  const auto from_input = with_bias(input_gates, input_bias).chunk(3, 1);
  const auto from_hidden = with_bias(hidden_gates, hidden_bias).chunk(3, 1);
  const auto reset = (from_hidden[0] + from_input[0]).sigmoid();
  const auto update = (from_hidden[1] + from_input[1]).sigmoid();
  const auto fresh = (from_input[2] + from_hidden[2] * reset).tanh();
  return {(hx - fresh) * update + fresh, at::empty({hx.size(0), hx.size(1) * 5}, hx.options())};
}

// Lets Module.to() move parameters in place, as it does for cuda: optimizers and tied weights keep
// theirs. PyTorch's own list of compatible backends leaves PrivateUse1 out.
bool has_compatible_shallow_copy_type(const at::Tensor& self, const at::Tensor& from) {
  const auto is_plain = [](const at::Tensor& tensor) {
    return tensor.layout() == c10::kStrided && (tensor.is_cpu() || tensor.device().is_privateuseone());
  };
  return is_plain(self) && is_plain(from);
}

void implement_composites(torch::Library& m) {
  m.impl("dropout", TORCH_FN(dropout));
  m.impl("_thnn_fused_lstm_cell", TORCH_FN(lstm_cell));
  m.impl("_thnn_fused_gru_cell", TORCH_FN(gru_cell));
}

}  // namespace
}  // namespace genie

TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) {
  genie::implement_composites(m);
  m.impl("_has_compatible_shallow_copy_type", TORCH_FN(genie::has_compatible_shallow_copy_type));
}
#if GENIE_FUNC_HIDES_KEY
TORCH_LIBRARY_IMPL(aten, AutogradOther, m) { genie::implement_composites(m); }
#endif

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  genie::implement_composites(m);
  m.impl("_has_compatible_shallow_copy_type", TORCH_FN(genie::has_compatible_shallow_copy_type));
}
