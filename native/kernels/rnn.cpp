#include "rnn.h"

#include <algorithm>

namespace genie::rnn {
namespace {

using at::Tensor;

Tensor gates_of_input(const Tensor& input, const Weights& w) { return at::linear(input, w.input, w.input_bias); }
Tensor gates_of_hidden(const Tensor& hidden, const Weights& w) { return at::linear(hidden, w.hidden, w.hidden_bias); }

Tensor gates_of(const Tensor& input, bool is_gates, const Weights& w) { return is_gates ? input : gates_of_input(input, w); }

Tensor simple_gates(const Tensor& input, bool is_gates, const State& state, const Weights& w) {
  const auto hidden = gates_of_hidden(state.h, w);
  return hidden.add_(gates_of(input, is_gates, w));
}

State lstm_step(const Tensor& input, bool is_gates, const State& state, const Weights& w) {
  const auto gates = simple_gates(input, is_gates, state, w).unsafe_chunk(4, 1);
  const auto take_in = gates[0].sigmoid_();
  const auto keep = gates[1].sigmoid_();
  const auto fresh = gates[2].tanh_();
  const auto give_out = gates[3].sigmoid_();
  const auto kept = keep * state.c;
  const auto cell = kept.add_(take_in * fresh);
  const auto hidden = give_out * cell.tanh();
  return {w.projection.defined() ? at::matmul(hidden, w.projection.t()) : hidden, cell};
}

State gru_step(const Tensor& input, bool is_gates, const State& state, const Weights& w) {
  const auto from_input = gates_of(input, is_gates, w).unsafe_chunk(3, 1);
  const auto from_hidden = gates_of_hidden(state.h, w).unsafe_chunk(3, 1);
  const auto reset = from_hidden[0].add_(from_input[0]).sigmoid_();
  const auto update = from_hidden[1].add_(from_input[1]).sigmoid_();
  const auto fresh = from_input[2].add(from_hidden[2].mul_(reset)).tanh_();
  return {(state.h - fresh).mul_(update).add_(fresh), {}};
}

Tensor narrow(const Tensor& tensor, int64_t start, int64_t length) {
  return tensor.defined() ? tensor.narrow(0, start, length) : tensor;
}

State narrow(const State& state, int64_t start, int64_t length) {
  return {narrow(state.h, start, length), narrow(state.c, start, length)};
}

State concat(const std::vector<State>& parts) {
  std::vector<Tensor> h, c;
  for (const auto& part : parts) {
    h.push_back(part.h);
    if (part.c.defined()) c.push_back(part.c);
  }
  const auto joined = at::cat(h, 0);
  return {joined, c.empty() ? Tensor() : at::cat(c, 0)};
}

Tensor run_padded(Kind kind, const Tensor& input, State& state, const Weights& w, bool reverse) {
  auto steps = gates_of_input(input, w).unbind(0);
  if (reverse) std::reverse(steps.begin(), steps.end());
  std::vector<Tensor> outputs;
  for (const auto& gates : steps) {
    state = step(kind, gates, true, state, w);
    outputs.push_back(state.h);
  }
  TORCH_CHECK(!outputs.empty(), "Expected sequence length to be larger than 0 in RNN");
  if (reverse) std::reverse(outputs.begin(), outputs.end());
  return at::stack(outputs, 0);
}

// Sequences end one after the other: those that did leave their state behind.
Tensor run_packed(Kind kind, const Tensor& input, at::IntArrayRef batch_sizes, State& state, const Weights& w) {
  const auto gates = gates_of_input(input, w);
  std::vector<Tensor> outputs;
  std::vector<State> ended;
  int64_t offset = 0, last = batch_sizes.front();
  for (const auto size : batch_sizes) {
    const auto part = gates.narrow(0, offset, size);
    offset += size;
    if (size < last) {
      ended.push_back(narrow(state, size, last - size));
      state = narrow(state, 0, size);
    }
    last = size;
    state = step(kind, part, true, state, w);
    outputs.push_back(state.h);
  }
  ended.push_back(state);
  std::reverse(ended.begin(), ended.end());
  const auto output = at::cat(outputs, 0);
  state = concat(ended);
  return output;
}

// Backwards in time, sequences join one after the other.
Tensor run_packed_reversed(Kind kind, const Tensor& input, at::IntArrayRef batch_sizes, State& state, const Weights& w) {
  const auto gates = gates_of_input(input, w);
  const auto initial = state;
  std::vector<Tensor> outputs;
  int64_t offset = input.size(0), last = batch_sizes.back();
  state = narrow(initial, 0, last);
  for (size_t i = batch_sizes.size(); i-- > 0;) {
    const auto size = batch_sizes[i];
    if (size > last) state = concat({state, narrow(initial, last, size - last)});
    offset -= size;
    last = size;
    state = step(kind, gates.narrow(0, offset, size), true, state, w);
    outputs.push_back(state.h);
  }
  std::reverse(outputs.begin(), outputs.end());
  return at::cat(outputs, 0);
}

Tensor run_direction(Kind kind, const Tensor& input, const Optional<at::IntArrayRef>& batch_sizes, State& state,
                     const Weights& w, bool reverse) {
  if (!batch_sizes) return run_padded(kind, input, state, w, reverse);
  return reverse ? run_packed_reversed(kind, input, *batch_sizes, state, w)
                 : run_packed(kind, input, *batch_sizes, state, w);
}

std::vector<Weights> gather(const Network& network, at::TensorList params) {
  const size_t each = (network.biases ? 4 : 2) + (network.projections ? 1 : 0);
  TORCH_CHECK(params.size() % each == 0, "got an incorrect number of RNN parameters");
  std::vector<Weights> all;
  for (size_t i = 0; i < params.size(); i += each) {
    Weights w{params[i], params[i + 1], {}, {}, {}};
    if (network.biases) {
      w.input_bias = params[i + 2];
      w.hidden_bias = params[i + 3];
    }
    if (network.projections) w.projection = params[i + each - 1];
    all.push_back(std::move(w));
  }
  return all;
}

void check_counts(const Network& network, size_t states, size_t weights) {
  const size_t directions = network.bidirectional ? 2 : 1;
  TORCH_CHECK(states % directions == 0 && weights % directions == 0,
              "Odd number of params or hiddens given to a bidirectional RNN");
  const auto layers = static_cast<size_t>(network.layers) * directions;
  TORCH_CHECK(layers == states, "Expected more hidden states in stacked_rnn");
  TORCH_CHECK(layers == weights, "Expected more weights in stacked_rnn");
}

}  // namespace

State step(Kind kind, const Tensor& input, bool is_gates, const State& state, const Weights& weights) {
  switch (kind) {
    case Kind::Tanh:
      return {at::tanh(simple_gates(input, is_gates, state, weights)), {}};
    case Kind::Relu:
      return {at::relu(simple_gates(input, is_gates, state, weights)), {}};
    case Kind::Lstm:
      return lstm_step(input, is_gates, state, weights);
    default:
      return gru_step(input, is_gates, state, weights);
  }
}

Tensor run(const Network& network, Tensor input, Optional<at::IntArrayRef> batch_sizes, std::vector<State>& states,
           at::TensorList params) {
  const auto weights = gather(network, params);
  check_counts(network, states.size(), weights.size());
  const size_t directions = network.bidirectional ? 2 : 1;
  for (size_t first = 0; first < states.size(); first += directions) {
    std::vector<Tensor> outputs;
    for (size_t i = first; i < first + directions; ++i) {
      outputs.push_back(run_direction(network.kind, input, batch_sizes, states[i], weights[i], i > first));
    }
    input = directions == 1 ? outputs[0] : at::cat(outputs, -1);
    const bool is_last = first + directions == states.size();
    if (network.dropout != 0 && network.train && !is_last) input = at::dropout(input, network.dropout, true);
  }
  return input;
}

}  // namespace genie::rnn
