// Control flow on the executor: which program is run, and how often, is said by values that are here.
#pragma once

#include "replay.h"

namespace genie {

// Checks an op of control flow that stands in `program`, and finds its regions. Throws ValueError.
void find_regions(ReplayProgram& program, ReplayOp& op, const Regions& regions);

}  // namespace genie
