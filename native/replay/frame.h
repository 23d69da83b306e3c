// What one run of a program has at hand.
#pragma once

#include "replay.h"

namespace genie {

class ModesLoan;

// What the client said of this run.
struct Bindings {
  uint64_t base = 0;
  std::vector<int64_t> symbols;
  std::vector<uint64_t> ids;   // per bound slot
  std::vector<uint8_t> kept;   // per slot
  std::vector<std::pair<uint32_t, uint64_t>> extra;  // slots kept this time only, with their ids
  std::vector<uint64_t> freed;
};

struct Replayer::Frame {
  ReplayProgram& program;
  const Bindings& run;
  std::vector<uint8_t> kept;  // per slot
  std::vector<StoredValue> slots;
  std::vector<at::Tensor> tensors;
  torch::jit::Stack stack;
  std::string reply;
  std::vector<at::Tensor> results;      // of a region
  FailurePtr lost;                      // why it has none
  const ModesLoan* modes = nullptr;     // of the program that a region is part of
  bool compared = false;  // new memory is cleared: nothing else says what is in it
  std::unordered_map<uint32_t, StoredValue> copies;  // per slot with room in its rows: one without

  Frame(ReplayProgram& p, const Bindings& r) : program(p), run(r), kept(r.kept), slots(p.slots), tensors(p.tensors.size()) {
    kept.resize(p.slots, 0);
  }

  Geometry geometry(uint32_t index) const;
  // Of a value with room in its rows: as it lies there, or a copy without, as `in_rows` says.
  at::Tensor tensor(uint32_t index, bool in_rows);
  // The slot's value with its elements where its geometry says, from now on.
  StoredValue& packed(uint32_t slot);
  bool failed() const;
};

// PyTorch's stand-in for zeros has no memory that a session could hold.
inline at::Tensor with_memory(at::Tensor tensor) {
  if (tensor.defined() && tensor._is_zerotensor()) return at::zeros(tensor.sizes(), tensor.options());
  return tensor;
}

}  // namespace genie
