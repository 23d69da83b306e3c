// The kernels that a device must give itself; registration.cpp ties them to their operators.
#pragma once

#include "core/compat.h"

#include <ATen/ATen.h>
#include <torch/library.h>

namespace genie::ops {

at::Tensor empty_memory_format(at::IntArrayRef size, Optional<at::ScalarType> dtype, Optional<at::Layout> layout,
                               Optional<at::Device> device, Optional<bool> pin_memory,
                               Optional<at::MemoryFormat> memory_format);
at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, Optional<at::ScalarType> dtype,
                         Optional<at::Layout> layout, Optional<at::Device> device, Optional<bool> pin_memory);
at::Tensor efficient_zero_tensor(at::IntArrayRef size, Optional<at::ScalarType> dtype, Optional<at::Layout> layout,
                                 Optional<at::Device> device, Optional<bool> pin_memory);

at::Tensor as_strided(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride, Optional<int64_t> offset);
at::Tensor view(const at::Tensor& self, at::IntArrayRef size);
at::Tensor reshape_alias(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride);
at::Tensor unfold(const at::Tensor& self, int64_t dim, int64_t size, int64_t step);
at::Tensor view_as_real(const at::Tensor& self);
at::Tensor view_as_complex(const at::Tensor& self);

at::Tensor& copy_(at::Tensor& self, const at::Tensor& source, bool non_blocking);
at::Tensor copy_from(const at::Tensor& self, const at::Tensor& target, bool non_blocking);
at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& target);
at::Scalar local_scalar_dense(const at::Tensor& self);

const at::Tensor& resize_(const at::Tensor& self, at::IntArrayRef size, Optional<at::MemoryFormat> memory_format);
at::Tensor& set_source_storage_offset(at::Tensor& self, at::Storage source, int64_t offset, at::IntArrayRef size,
                                      at::IntArrayRef stride);
at::Tensor& set_source_storage(at::Tensor& self, at::Storage source);
at::Tensor& set_source_tensor(at::Tensor& self, const at::Tensor& source);
at::Tensor& set_empty(at::Tensor& self);
void record_stream(at::Tensor& self, at::Stream stream);

}  // namespace genie::ops

namespace genie {

// Ties operators to the device: the recorder as the fallback of all, and in the place of decompositions; its
// unboxed form where that fits; autocast; refusals. Done at the device's first use, not when torch is imported: each
// fallback goes through some thousands of operators. Idempotent.
void register_ops();
void register_autocast();
void register_layouts();

// A library of kernels that is kept for good.
inline torch::Library& library_of(const char* space, c10::DispatchKey key) {
  return *new torch::Library(torch::Library::IMPL, space, key, __FILE__, __LINE__);
}

// Whether the executor behind this tensor's device computes on a CPU.
bool on_cpu(const at::Tensor& tensor);

}  // namespace genie
