// Values with room to grow. What a client appends to at every step lies in rows that are further
// apart here than its geometry says, so that appending copies what is new and nothing else.
#pragma once

#include "core/geometry.h"

namespace genie {

// Elements (row, position, item) of a contiguous tensor of `rows` × `length` × `inner` elements, in a
// storage with room for `capacity` positions in each row.
struct Slack {
  at::ScalarType dtype = at::ScalarType::Float;
  int64_t rows = 0, length = 0, capacity = 0, inner = 0;

  // Where the tensor of that geometry lies in the storage; none if it crosses from row to row.
  Optional<Geometry> spread(const Geometry& packed) const;
  // All of it, as `positions` of each row from position `first` on.
  Geometry part(int64_t first, int64_t positions) const;
  int64_t elements() const { return rows * capacity * inner; }

  // The layout of a contiguous tensor that is to grow along `dim`.
  static Slack of(const Geometry& tensor, int64_t dim);
};

// Do the elements lie one after the other, from the storage's start?
bool is_packed(const Geometry& geometry);

}  // namespace genie
