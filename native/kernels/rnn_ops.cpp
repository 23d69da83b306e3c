// The operators of recurrent networks. On the CPU, PyTorch gives an LSTM to oneDNN layer by layer, and
// computes the others by formula; on an accelerator it picks fused cells. Where the executor is a CPU
// the CPU's choice is made here.
#include "ops.h"
#include "rnn.h"

#include "core/device.h"
#include "core/recorder.h"

#include <ATen/Context.h>
#include <ATen/native/RNN.h>
#include <ATen/ops/gru_cell_native.h>
#include <ATen/ops/gru_native.h>
#include <ATen/ops/lstm_cell_native.h>
#include <ATen/ops/lstm_native.h>
#include <ATen/ops/rnn_relu_native.h>
#include <ATen/ops/rnn_tanh_native.h>
#include <torch/library.h>

#include <array>
#include <atomic>

namespace genie {
namespace {

using at::Tensor;
using at::TensorList;
using rnn::Kind;
using rnn::Network;
using rnn::State;

constexpr auto kKeys = c10::DispatchKeySet(c10::DispatchKey::PrivateUse1);

c10::OperatorHandle find(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
}

// ---- on the executor --------------------------------------------------------------------------

bool says_yes(const char* name) {
  const auto op = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!op) return false;
  torch::jit::Stack stack;
  op->callBoxed(stack);
  return stack.at(0).toBool();
}

// Whether this process's torch gives an LSTM of that dtype to oneDNN.
bool has_onednn_lstm(const Tensor& like) {
  if (!at::hasMKLDNN()) return false;
  if (like.scalar_type() == at::kBFloat16) return says_yes("mkldnn::_is_mkldnn_bf16_supported");
  if (like.scalar_type() == at::kHalf) return says_yes("mkldnn::_is_mkldnn_fp16_supported");
  return like.scalar_type() == at::kFloat;
}

// The kernel keeps what its backward needs only where gradients are wanted, and a replay wants none.
void layer_for_training(const c10::OperatorHandle&, torch::jit::Stack* stack) {
  static const auto layer = find("aten::mkldnn_rnn_layer");
  const at::AutoGradMode grad_mode(true);
  layer.callBoxed(stack);
}

// ---- on the client ----------------------------------------------------------------------------

void record_layer(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  static const auto training = find("genie::lstm_layer_for_training");
  record(at::GradMode::is_enabled() ? training : op, keys, stack);
}

// With a tensor of the device's own: `torch.func` wraps those that it hands in.
bool ask_executor(at::ScalarType dtype, at::Device device) {
  static const auto question = find("genie::has_onednn_lstm");
  torch::jit::Stack stack{ops::empty_memory_format({0}, dtype, at::kStrided, device, nullopt, nullopt)};
  record(question, kKeys, &stack);
  return stack.at(0).toBool();
}

// What the executor's torch and processor can do; asked once for each dtype.
bool executor_has_onednn(const Tensor& input) {
  static std::array<std::array<std::atomic<int>, 3>, kMaxDevices> answers{};
  const auto dtype = input.scalar_type();
  auto& answer = answers.at(input.device().index())[dtype == at::kFloat ? 0 : dtype == at::kBFloat16 ? 1 : 2];
  if (answer == 0) answer = ask_executor(dtype, input.device()) ? 1 : -1;
  return answer > 0;
}

bool takes_onednn(const Tensor& input, TensorList hx, TensorList params) {
  const auto dtype = input.scalar_type();
  const bool possible = dtype == at::kFloat || dtype == at::kBFloat16 || (dtype == at::kHalf && !at::GradMode::is_enabled());
  const auto is_here = [](const Tensor& tensor) { return tensor.device().is_privateuseone(); };
  return possible && at::globalContext().userEnabledMkldnn() && input.numel() != 0 &&
         std::all_of(hx.begin(), hx.end(), is_here) && std::all_of(params.begin(), params.end(), is_here) &&
         executor_has_onednn(input);
}

std::vector<State> states_of(const Tensor& hx) {
  std::vector<State> states;
  for (auto& h : hx.unbind(0)) states.push_back({std::move(h), {}});
  return states;
}

std::vector<State> states_of(const Tensor& hx, const Tensor& cx) {
  auto states = states_of(hx);
  const auto cells = cx.unbind(0);
  for (size_t i = 0; i < states.size(); ++i) states[i].c = cells.at(i);
  return states;
}

Tensor stack_of(const std::vector<State>& states, Tensor State::*part) {
  std::vector<Tensor> all;
  for (const auto& state : states) all.push_back(state.*part);
  return at::stack(all, 0);
}

at::IntArrayRef sizes_in(const Tensor& batch_sizes) {
  TORCH_CHECK(batch_sizes.is_cpu() && batch_sizes.numel() > 0, "batch_sizes should be a CPU tensor that is not empty");
  return {batch_sizes.data_ptr<int64_t>(), static_cast<size_t>(batch_sizes.numel())};
}

std::tuple<Tensor, Tensor, Tensor> lstm_input(const Tensor& input, TensorList hx, TensorList params, bool biases,
                                              int64_t layers, double dropout, bool train, bool bidirectional,
                                              bool batch_first) {
  if (!on_cpu(input)) return at::native::lstm(input, hx, params, biases, layers, dropout, train, bidirectional, batch_first);
  TORCH_CHECK(hx.size() == 2, "lstm expects two hidden states");
  const bool projections = hx[0].size(2) != hx[1].size(2);
  const auto onednn = decltype(at::native::lstm_mkldnn_stub)::DEFAULT;
  if (onednn != nullptr && !projections && takes_onednn(input, hx, params)) {
    Tensor output, hy, cy;
    onednn(output, hy, cy, input, hx, params, biases, layers, dropout, train, bidirectional, batch_first);
    return {output, hy, cy};
  }
  at::native::check_attributes(input, params, hx);
  auto states = states_of(hx[0], hx[1]);
  const Network network{Kind::Lstm, biases, projections, layers, dropout, train, bidirectional};
  auto output = rnn::run(network, batch_first ? input.transpose(0, 1) : input, nullopt, states, params);
  const auto hy = stack_of(states, &State::h);
  const auto cy = stack_of(states, &State::c);
  return {batch_first ? output.transpose(0, 1) : output, hy, cy};
}

std::tuple<Tensor, Tensor, Tensor> lstm_data(const Tensor& data, const Tensor& batch_sizes, TensorList hx,
                                             TensorList params, bool biases, int64_t layers, double dropout,
                                             bool train, bool bidirectional) {
  if (!on_cpu(data)) return at::native::lstm(data, batch_sizes, hx, params, biases, layers, dropout, train, bidirectional);
  TORCH_CHECK(hx.size() == 2, "lstm expects two hidden states");
  const bool projections = hx[0].size(2) != hx[1].size(2);
  auto states = states_of(hx[0], hx[1]);
  const Network network{Kind::Lstm, biases, projections, layers, dropout, train, bidirectional};
  const auto output = rnn::run(network, data, sizes_in(batch_sizes), states, params);
  const auto hy = stack_of(states, &State::h);
  return {output, hy, stack_of(states, &State::c)};
}

using Padded = std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, TensorList, bool, int64_t, double, bool, bool, bool);
using Packed = std::tuple<Tensor, Tensor>(const Tensor&, const Tensor&, const Tensor&, TensorList, bool, int64_t, double, bool, bool);

// Networks with one hidden state, and what PyTorch computes for other executors.
template <Kind kind, Padded* elsewhere>
std::tuple<Tensor, Tensor> padded(const Tensor& input, const Tensor& hx, TensorList params, bool biases, int64_t layers,
                                  double dropout, bool train, bool bidirectional, bool batch_first) {
  if (!on_cpu(input)) return elsewhere(input, hx, params, biases, layers, dropout, train, bidirectional, batch_first);
  at::native::check_attributes(input, params, hx);
  const auto time_first = batch_first ? input.transpose(0, 1) : input;
  auto states = states_of(hx);
  const Network network{kind, biases, false, layers, dropout, train, bidirectional};
  auto output = rnn::run(network, time_first, nullopt, states, params);
  const auto hy = stack_of(states, &State::h);
  return {batch_first ? output.transpose_(0, 1) : output, hy};
}

template <Kind kind, Packed* elsewhere>
std::tuple<Tensor, Tensor> packed(const Tensor& data, const Tensor& batch_sizes, const Tensor& hx, TensorList params,
                                  bool biases, int64_t layers, double dropout, bool train, bool bidirectional) {
  if (!on_cpu(data)) return elsewhere(data, batch_sizes, hx, params, biases, layers, dropout, train, bidirectional);
  auto states = states_of(hx);
  const Network network{kind, biases, false, layers, dropout, train, bidirectional};
  const auto output = rnn::run(network, data, sizes_in(batch_sizes), states, params);
  return {output, stack_of(states, &State::h)};
}

// ---- single cells: those of a plain network take one path everywhere --------------------------

void check_cell(const Tensor& input, TensorList hx, const Tensor& w_ih, const Tensor& w_hh, int64_t gates) {
  const auto hidden_size = w_hh.size(1);
  TORCH_CHECK(input.size(1) == w_ih.size(1), "input has inconsistent input_size: got ", input.size(1), " expected ", w_ih.size(1));
  for (const auto* w : {&w_ih, &w_hh}) {
    TORCH_CHECK(w->size(0) == gates * hidden_size, w == &w_ih ? "weight_ih" : "weight_hh", " first dim must be ", gates,
                " * hidden_size = ", gates * hidden_size, ", but got ", w->size(0));
  }
  for (size_t i = 0; i < hx.size(); ++i) {
    TORCH_CHECK(input.size(0) == hx[i].size(0), "Input batch size ", input.size(0), " doesn't match hidden", i,
                " batch size ", hx[i].size(0));
    TORCH_CHECK(hx[i].size(1) == hidden_size, "hidden", i, " has inconsistent hidden_size: got ", hx[i].size(1),
                ", expected ", hidden_size);
  }
}

std::tuple<Tensor, Tensor> lstm_cell(const Tensor& input, TensorList hx, const Tensor& w_ih, const Tensor& w_hh,
                                     const Optional<Tensor>& b_ih, const Optional<Tensor>& b_hh) {
  if (!on_cpu(input)) return at::native::lstm_cell(input, hx, w_ih, w_hh, b_ih, b_hh);
  TORCH_CHECK(hx.size() == 2, "lstm_cell expects two hidden states");
  check_cell(input, hx, w_ih, w_hh, 4);
  const auto state = rnn::step(Kind::Lstm, input, false, {hx[0], hx[1]}, {w_ih, w_hh, b_ih.value_or(Tensor()), b_hh.value_or(Tensor()), {}});
  return {state.h, state.c};
}

Tensor gru_cell(const Tensor& input, const Tensor& hx, const Tensor& w_ih, const Tensor& w_hh,
                const Optional<Tensor>& b_ih, const Optional<Tensor>& b_hh) {
  if (!on_cpu(input)) return at::native::gru_cell(input, hx, w_ih, w_hh, b_ih, b_hh);
  check_cell(input, hx, w_ih, w_hh, 3);
  return rnn::step(Kind::Gru, input, false, {hx, {}}, {w_ih, w_hh, b_ih.value_or(Tensor()), b_hh.value_or(Tensor()), {}}).h;
}

void implement(torch::Library& m) {
  m.impl("lstm.input", TORCH_FN(lstm_input));
  m.impl("lstm.data", TORCH_FN(lstm_data));
  m.impl("gru.input", TORCH_FN((padded<Kind::Gru, &at::native::gru>)));
  m.impl("gru.data", TORCH_FN((packed<Kind::Gru, &at::native::gru>)));
  m.impl("rnn_tanh.input", TORCH_FN((padded<Kind::Tanh, &at::native::rnn_tanh>)));
  m.impl("rnn_tanh.data", TORCH_FN((packed<Kind::Tanh, &at::native::rnn_tanh>)));
  m.impl("rnn_relu.input", TORCH_FN((padded<Kind::Relu, &at::native::rnn_relu>)));
  m.impl("rnn_relu.data", TORCH_FN((packed<Kind::Relu, &at::native::rnn_relu>)));
  m.impl("lstm_cell", TORCH_FN(lstm_cell));
  m.impl("gru_cell", TORCH_FN(gru_cell));
}

}  // namespace
}  // namespace genie

TORCH_LIBRARY_FRAGMENT(genie, m) {
  m.def("has_onednn_lstm(Tensor like) -> bool");
  m.def(
      "lstm_layer_for_training(Tensor input, Tensor weight0, Tensor weight1, Tensor weight2, Tensor weight3, "
      "Tensor hx_, Tensor cx_, bool reverse, int[] batch_sizes, int mode, int hidden_size, int num_layers, "
      "bool has_biases, bool bidirectional, bool batch_first, bool train) -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(genie, CPU, m) {
  m.impl("has_onednn_lstm", TORCH_FN(genie::has_onednn_lstm));
  m.impl("lstm_layer_for_training", torch::CppFunction::makeFromBoxedFunction<&genie::layer_for_training>());
}

// Composite ops: one kernel where gradients may be wanted, the same in inference mode.
TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) { genie::implement(m); }
#if GENIE_FUNC_HIDES_KEY
TORCH_LIBRARY_IMPL(aten, AutogradOther, m) { genie::implement(m); }
#endif

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  genie::implement(m);
  m.impl("mkldnn_rnn_layer", torch::CppFunction::makeFromBoxedFunction<&genie::record_layer>());
}
