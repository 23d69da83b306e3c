#include "mark.h"

#include "compat.h"

#include <ATen/SequenceNumber.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/graph_task.h>
#include GENIE_NODE_HEADER

#include <limits>
#include <utility>

namespace genie {
namespace {

struct Thread {
  uint32_t context = 0;
  uint32_t id = 0;  // as autograd's nodes have it; 0 until it is asked for
};
thread_local Thread current;

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
  auto& thread = current;
  if (thread.id == 0) thread.id = static_cast<uint32_t>(at::RecordFunction::currentThreadId());
  mark.context = thread.context;
  mark.thread = thread.id;
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

uint32_t exchange_context(uint32_t context) { return std::exchange(current.context, context); }

}  // namespace genie
