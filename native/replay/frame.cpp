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

const at::Tensor& Replayer::Frame::tensor(uint32_t index) {
  auto& cached = tensors[index];
  if (!cached.defined()) {
    const auto slot = program.tensors[index].slot;
    TORCH_CHECK_VALUE(slots[slot].storage, "the program uses a value before it is made");
    const auto packed_geometry = geometry(index);
    const auto spread_geometry = slots[slot].slack ? slots[slot].slack->spread(packed_geometry) : packed_geometry;
    cached = spread_geometry ? make_view(slots[slot].storage, *spread_geometry)
                             : make_view(packed(slot).storage, packed_geometry);
  }
  return cached;
}

StoredValue& Replayer::Frame::packed(uint32_t slot) {
  auto& value = slots[slot];
  if (!value.slack) return value;
  value.pack();
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (program.tensors[i].slot == slot) tensors[i].reset();  // it lay on the old storage
  }
  return value;
}

bool Replayer::Frame::failed() const {
  return std::any_of(slots.begin(), slots.end(), [](const StoredValue& value) { return value.failure != nullptr; });
}

}  // namespace genie
