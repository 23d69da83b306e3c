// The results of a call: made from its signature, or as the executor reported them.
#pragma once

#include "signature.h"

#include "program/codec.h"

#include <memory>
#include <vector>

namespace genie {

// In flat order: lists are spread out.
using Results = c10::SmallVector<at::Tensor, 4>;

// New tensors; nothing where an output is an operand, or undefined.
void make_outputs(const Signature& signature, const CallWriter& call, Results& flat);
// Puts the operands where the outputs are operands.
void fill_aliases(const Signature& signature, const CallWriter& call, Results& flat);
void push_results(const Signature& signature, Results& flat, torch::jit::Stack* stack);

// Lays an operand out as an op has resized it.
void set_geometry(c10::TensorImpl* impl, const OutputSpec& spec);

// One result of a reply; new values take consecutive ids from `next_id`.
c10::IValue decode_result(Decoder& in, const CallWriter& call, uint64_t& next_id);
// An operand of a reply, which gets the geometry that it has on the executor.
c10::TensorImpl* decode_operand(Decoder& in, const CallWriter& call);
// The outputs of a signature whose executor was asked, or nothing if they are not only tensors.
std::unique_ptr<Signature> describe_results(const Signature& asked, const CallWriter& call,
                                            const std::vector<c10::IValue>& results);

}  // namespace genie
