#include "mark.h"

#include "compat.h"

#include <ATen/SequenceNumber.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/graph_task.h>
#include GENIE_NODE_HEADER

#include <limits>
#include <map>
#include <utility>

namespace genie {
namespace {

thread_local uint32_t current_context = 0;

// The autograd kernel above the recorder has just made a node for an op that is to be differentiated.
bool has_node(const CallWriter& call) {
  if (!at::GradMode::is_enabled()) return false;
  for (const auto& operand : call.operands) {
    if (operand.tensor != nullptr && operand.tensor->requires_grad()) return true;
  }
  return false;
}

}  // namespace

Mark mark_of(const CallWriter& call) {
  Mark mark;
  mark.context = current_context;
  mark.thread = static_cast<uint32_t>(at::RecordFunction::currentThreadId());
  mark.node = static_cast<int64_t>(at::sequence_number::peek());
  if (!has_node(call)) mark.node = -mark.node;
  if (torch::autograd::get_current_graph_task_id() < 0) return mark;
  mark.evaluates = -1;
  if (const auto node = torch::autograd::get_current_node()) {
    mark.evaluated_thread = static_cast<uint32_t>(node->thread_id());
    if (node->sequence_nr() != std::numeric_limits<uint64_t>::max()) mark.evaluates = static_cast<int64_t>(node->sequence_nr()) + 1;
  }
  return mark;
}

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

uint32_t exchange_context(uint32_t context) { return std::exchange(current_context, context); }

}  // namespace genie
