// Another program with the same effect, made by the client's passes: checked against the program
// itself in its first run, then played instead of it.
#pragma once

#include "replay.h"

namespace genie {

struct Rewrite {
  enum State : uint8_t { Unchecked, Accepted, Refused };

  ReplayProgram program;
  std::vector<std::pair<uint32_t, int64_t>> guards;  // symbols, and the numbers that it was made for
  double tolerance = 0;  // of the largest number of each tensor; 0: to the bit
  State state = Unchecked;
  std::string reason;    // of a refusal
  double error = 0;      // as `tolerance` counts
  double seconds_before = 0, seconds_after = 0;  // of the run that was checked

  // Holds it for a run with these numbers, which keeps these values?
  bool serves(const ReplayProgram& original, const Bindings& run) const;
};

}  // namespace genie
