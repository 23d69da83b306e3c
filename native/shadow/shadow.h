// Host-known values: small integers and booleans that derive from constants only are computed on the
// host as well, so that a model's control reads (a mask's all(), a length) need no round trip.
#pragma once

#include "core/output.h"

namespace genie {

constexpr size_t kShadowLimit = 256 * 1024;  // bytes

// Can the outputs be computed here, too? They can where every operand has a shadow.
bool computable(const Signature& signature, const CallWriter& call);
// Called with the core's lock held, after the call was recorded: computes the new values' shadows
// where that can be done, and forgets those of operands that were written otherwise.
void update_shadows(const Signature& signature, const CallWriter& call, const torch::jit::Stack& stack,
                    const Results& results);
void forget_shadows(const CallWriter& call);

// Memory for a value that nothing was written to yet, or nothing if its kind is not followed.
c10::Storage blank_shadow(at::ScalarType dtype, size_t nbytes);

// A copy of a CPU tensor's bytes as a shadow, or nothing if the tensor does not qualify.
c10::Storage shadow_from(const at::Tensor& cpu);

}  // namespace genie
