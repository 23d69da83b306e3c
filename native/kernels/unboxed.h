// Kernels that record without a stack, for ops of common C++ signatures.
//
// A boxed kernel's stack holds references to its tensors, and since torch 2.13 the second reference to a
// tensor that Python holds takes the GIL, twice. So ops whose C++ signature is in the list of unboxed.cpp
// get a kernel that writes its arguments down where they are; what it does is the boxed recorder's.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace genie {

// Ties `op` to an unboxed recorder on PrivateUse1; false if its signature is not in the list.
bool register_unboxed(const c10::OperatorHandle& op);

}  // namespace genie
