// Shape inference by an op's own meta kernel.
#pragma once

#include "core/signature.h"

namespace genie {

// The outputs of a call, as its meta kernel gives them; null for an op that gives more than tensors.
// Throws what the meta kernel throws.
std::unique_ptr<Signature> infer_with_meta(OpInfo& info, const torch::jit::Stack& call);

// Stands for an answer that the executor gives at first sight, and that holds from then on.
std::unique_ptr<Signature> ask_once();

}  // namespace genie
