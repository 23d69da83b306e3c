// Where in the user's computation an op is recorded: its autograd node, and what plugins said.
#pragma once

#include "program/trace.h"

namespace genie {

Mark mark_of(const CallWriter& call);

// The calling thread's context, an id that Python gave; returns the one before.
uint32_t exchange_context(uint32_t context);

}  // namespace genie
