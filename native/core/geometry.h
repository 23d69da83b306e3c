// How a tensor lies on its storage. With the storage's name it names any tensor, whatever made it.
#pragma once

#include "compat.h"

#include <ATen/ATen.h>

#include <cstdint>

namespace genie {

// kTwin: another tensor than the one that a call named first with the same geometry. Kernels that look
// whether they write to what they read, or resize it, ask for identity.
enum GeometryFlags : uint8_t { kConj = 1, kNeg = 2, kWrapped = 4, kTwin = 8 };

struct Geometry {
  at::ScalarType dtype = at::ScalarType::Float;
  uint8_t flags = 0;
  int64_t offset = 0;  // elements
  at::DimVector size;
  at::DimVector stride;

  bool operator==(const Geometry& other) const {
    return dtype == other.dtype && flags == other.flags && offset == other.offset && size == other.size &&
           stride == other.stride;
  }
};

// A dtype that a plain tensor can have (none of the quantized ones).
bool is_dtype(int64_t value);

Geometry geometry_of(const at::Tensor& tensor);

// Bytes from the storage's start to the view's last element; 0 for an empty view. Throws on
// negative or overflowing geometry, so that what a peer sends can be trusted afterwards.
size_t extent_of(const Geometry& geometry);

// A tensor over `storage`. Throws if it would reach beyond the storage's end.
at::Tensor make_view(const c10::Storage& storage, const Geometry& geometry);

// The same without the check, for geometry that this process made itself.
at::Tensor make_view_unchecked(const c10::Storage& storage, c10::DispatchKey key, at::ScalarType dtype,
                               uint8_t flags, int64_t offset, at::IntArrayRef size, at::IntArrayRef stride);

c10::DispatchKey backend_key(c10::DeviceType type);

}  // namespace genie
