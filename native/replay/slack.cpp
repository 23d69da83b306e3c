#include "slack.h"

#include <algorithm>

namespace genie {
namespace {

constexpr int64_t kRoom = 64;  // positions at least; else half of what is there

}  // namespace

bool is_packed(const Geometry& geometry) {
  int64_t expected = 1;
  for (size_t i = geometry.size.size(); i-- > 0;) {
    if (geometry.size[i] != 1 && geometry.stride[i] != expected) return false;
    expected *= geometry.size[i];
  }
  return geometry.offset == 0 && geometry.flags == 0;
}

Slack Slack::of(const Geometry& tensor, int64_t dim) {
  Slack slack;
  slack.dtype = tensor.dtype;
  slack.rows = slack.inner = 1;
  const auto at = static_cast<size_t>(dim);
  for (size_t i = 0; i < at; ++i) slack.rows *= tensor.size[i];
  for (size_t i = at + 1; i < tensor.size.size(); ++i) slack.inner *= tensor.size[i];
  slack.length = tensor.size[at];
  slack.capacity = slack.length + std::max(slack.length / 2, kRoom);
  return slack;
}

Optional<Geometry> Slack::spread(const Geometry& packed) const {
  if (packed.dtype != dtype || length == 0 || inner == 0) return nullopt;
  const int64_t row = length * inner, wide = capacity * inner;
  auto spread = packed;
  spread.offset = packed.offset / row * wide + packed.offset % row;
  int64_t last = packed.offset % row;  // the furthest that a view goes within a row
  for (size_t i = 0; i < packed.size.size(); ++i) {
    if (packed.size[i] <= 1) continue;
    if (packed.stride[i] >= row) {
      if (packed.stride[i] % row != 0) return nullopt;
      spread.stride[i] = packed.stride[i] / row * wide;
    } else {
      last += (packed.size[i] - 1) * packed.stride[i];
    }
  }
  if (last >= row) return nullopt;
  return spread;
}

Geometry Slack::part(int64_t first, int64_t positions) const {
  Geometry part;
  part.dtype = dtype;
  part.offset = first * inner;
  part.size = {rows, positions, inner};
  part.stride = {capacity * inner, inner, 1};
  return part;
}

}  // namespace genie
