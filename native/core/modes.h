// Settings of the process that change what an op does: they travel with the op.
#pragma once

#include <ATen/Context.h>
#include <c10/core/DefaultDtype.h>

#include <cstdint>

namespace genie {

constexpr uint64_t kDeterministic = 1 << 8;
constexpr uint64_t kWarnOnly = 1 << 9;
constexpr uint64_t kDefaultModes = static_cast<uint64_t>(c10::ScalarType::Float);

// The default dtype, and the flags above.
inline uint64_t current_modes() {
  const auto& context = at::globalContext();
  uint64_t modes = static_cast<uint64_t>(c10::typeMetaToScalarType(c10::get_default_dtype()));
  if (context.deterministicAlgorithms()) modes |= kDeterministic;
  if (context.deterministicAlgorithmsWarnOnly()) modes |= kWarnOnly;
  return modes;
}

inline void set_modes(uint64_t modes) {
  c10::set_default_dtype(c10::scalarTypeToTypeMeta(static_cast<c10::ScalarType>(modes & 0xff)));
  at::globalContext().setDeterministicAlgorithms((modes & kDeterministic) != 0, (modes & kWarnOnly) != 0);
}

}  // namespace genie
