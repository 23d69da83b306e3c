// Strides that the real kernels give where PyTorch's Python meta kernels say otherwise.
#pragma once

#include "core/signature.h"

namespace genie {

// What an op was called with: device tensors as meta tensors, CPU scalars too.
struct MetaOperand {
  at::Tensor tensor;
  bool written = false;
};

// The strides of a result of `g`'s size and dtype that the op makes or resizes; none where the meta
// kernel is to be believed. They differ where a dimension has one place, or the tensor none.
Optional<at::DimVector> known_strides(const OpInfo& info, const std::vector<MetaOperand>& operands,
                                      Optional<at::MemoryFormat> format, const Geometry& g);

}  // namespace genie
