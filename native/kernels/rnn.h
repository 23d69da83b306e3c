// Recurrent networks by the CPU's formulas: its ops in its order, so that autograd adds up gradients in its
// order, too. PyTorch computes a whole sequence's input gates at once on the CPU only.
#pragma once

#include "core/compat.h"

#include <ATen/ATen.h>

#include <utility>
#include <vector>

namespace genie::rnn {

enum class Kind { Tanh, Relu, Lstm, Gru };

// What one direction of one layer computes with; undefined where the network has none.
struct Weights {
  at::Tensor input, hidden, input_bias, hidden_bias, projection;
};

struct State {
  at::Tensor h, c;  // c is the LSTM's
};

struct Network {
  Kind kind;
  bool biases;
  bool projections;
  int64_t layers;
  double dropout;  // between layers
  bool train;
  bool bidirectional;
};

// One step of one cell. The input may be its part of the gates already.
State step(Kind kind, const at::Tensor& input, bool is_gates, const State& state, const Weights& weights);

// A batch of padded sequences (time first) or, with batch sizes, a packed one; leaves the final states in
// `states`, one for each direction of each layer.
at::Tensor run(const Network& network, at::Tensor input, Optional<at::IntArrayRef> batch_sizes,
               std::vector<State>& states, at::TensorList params);

}  // namespace genie::rnn
