// Where in the user's computation an op is recorded: its autograd node, and what plugins said.
#pragma once

#include "trace.h"

#include <deque>

namespace genie {

Mark mark_of(const CallWriter& call);

// The marks of the latest runs, where the forward op of a backward op is found.
class RunLog {
 public:
  void add(uint32_t program, const Trace& trace);
  // Per op, the one that made the autograd node which it evaluates.
  std::vector<OpRef> forwards(const std::vector<Mark>& marks) const;

 private:
  struct Run {
    uint32_t program;
    std::vector<Mark> marks;
  };
  static constexpr size_t kRuns = 256;
  std::deque<Run> runs_;
};

// The calling thread's context, an id that Python gave; returns the one before.
uint32_t exchange_context(uint32_t context);

}  // namespace genie
