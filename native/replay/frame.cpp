#include "frame.h"

namespace genie {

Geometry Replayer::Frame::geometry(uint32_t index) const {
  const auto& ref = program.tensors[index];
  auto g = ref.geometry;
  for (const auto& [position, symbol] : ref.symbols) {
    const size_t rank = g.size.size();
    auto& number = position == 0 ? g.offset : position <= rank ? g.size[position - 1] : g.stride[position - 1 - rank];
    number = run.symbols[symbol];
  }
  return g;
}

at::Tensor Replayer::Frame::tensor(uint32_t index, bool in_rows) {
  auto& cached = tensors[index];
  if (cached.defined()) return cached;
  const auto slot = program.tensors[index].slot;
  const auto& value = slots[slot];
  TORCH_CHECK_VALUE(value.storage, "the program uses a value before it is made");
  const auto packed_geometry = geometry(index);
  if (!value.slack) return cached = make_view(value.storage, packed_geometry);
  if (in_rows) {
    if (const auto spread = value.slack->spread(packed_geometry)) return make_view(value.storage, *spread);
  }
  auto& copy = copies.emplace(slot, value).first->second;
  copy.pack();
  return make_view(copy.storage, packed_geometry);
}

StoredValue& Replayer::Frame::packed(uint32_t slot) {
  auto& value = slots[slot];
  if (!value.slack) return value;
  value.pack();
  copies.erase(slot);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (program.tensors[i].slot == slot) tensors[i].reset();  // it lay on the old storage
  }
  return value;
}

bool Replayer::Frame::failed() const {
  return std::any_of(slots.begin(), slots.end(), [](const StoredValue& value) { return value.failure != nullptr; });
}

}  // namespace genie
