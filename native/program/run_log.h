// Which op made the autograd node that an op of a backward evaluates.
#pragma once

#include "program.h"

#include <deque>
#include <vector>

namespace genie {

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

}  // namespace genie
