#include "run_log.h"

#include <map>
#include <utility>

namespace genie {

void RunLog::add(uint32_t program, const Trace& trace) {
  if (runs_.size() == kRuns) {
    runs_.push_back(std::move(runs_.front()));  // its memory is used again
    runs_.pop_front();
  } else {
    runs_.emplace_back();
  }
  auto& run = runs_.back();
  run.program = program;
  run.marks.clear();
  for (const auto& op : trace.ops) run.marks.push_back(op.mark);
}

std::vector<OpRef> RunLog::forwards(const std::vector<Mark>& marks) const {
  // The first op after a node was made is its maker, best if it can have one: others follow it.
  using Key = std::pair<uint32_t, int64_t>;  // thread, node; negative as in Mark
  std::map<Key, OpRef> makers;
  for (const auto& run : runs_) {
    Mark previous;
    for (size_t i = 0; i < run.marks.size(); ++i) {
      const auto& mark = run.marks[i];
      const bool follows = i > 0 && mark.node == previous.node && mark.thread == previous.thread;
      if (!follows && mark.node != 0) makers.emplace(Key{mark.thread, mark.node}, OpRef{run.program, static_cast<int64_t>(i)});
      previous = mark;
    }
  }
  std::vector<OpRef> found(marks.size());
  for (size_t i = 0; i < marks.size(); ++i) {
    if (marks[i].evaluates <= 0) continue;
    auto maker = makers.find({marks[i].evaluated_thread, marks[i].evaluates});
    if (maker == makers.end()) maker = makers.find({marks[i].evaluated_thread, -marks[i].evaluates});
    if (maker != makers.end()) found[i] = maker->second;
  }
  return found;
}

}  // namespace genie
