#include "program.h"

#include <algorithm>
#include <atomic>

namespace genie {
namespace {

constexpr size_t kHeavyMin = 10;
constexpr size_t kFlushMin = 256;
constexpr size_t kFlushMax = 1024;

uint64_t op_identity(const Signature& signature) {
  return signature.op != nullptr ? signature.op->identity : signature.structure[0];
}

}  // namespace

const char* pseudo_name(uint64_t id) {
  static const char* names[] = {"",           "genie::alloc",     "genie::resize",   "genie::make_generator",
                                "genie::seed", "genie::set_state", "genie::get_state",      "genie::append",
                                "genie::return_values", "genie::cond", "genie::while_loop", "genie::repeat"};
  return names[id];
}

uint32_t Trace::next_epoch() {
  static std::atomic<uint32_t> last{0};
  return ++last;
}

uint32_t Trace::slot_of(Value* value, bool made) {
  if (value->epoch != epoch) {
    value->epoch = epoch;
    value->slot = static_cast<uint32_t>(by_slot.size());
    by_slot.push_back(value);
    made_here.push_back(made);
  }
  return value->slot;
}

void Trace::append(Signature* signature, const CallWriter& call, const Mark& mark) {
  ops.push_back({signature, static_cast<uint32_t>(slots.size()), static_cast<uint32_t>(values.size()), mark});
  hash = mix(hash, signature->structure_id);
  window = window << 8 ^ op_identity(*signature);
  recent[appended++ % recent.size()] = static_cast<uint32_t>(mix(window, 1) >> 32);
  values.insert(values.end(), call.values.begin(), call.values.end());
  for (const auto& operand : call.operands) {
    const auto slot = slot_of(operand.value, false);
    slots.push_back(slot);
    hash = mix(hash, slot);
  }
}

uint32_t Trace::add_output(Value* value) {
  value->materialized = true;
  const auto slot = slot_of(value, true);
  slots.push_back(slot);
  return slot;
}

void Trace::clear() {
  ops.clear();
  slots.clear();
  values.clear();
  by_slot.clear();
  made_here.clear();
  origins.clear();
  hash = control ? kRegionHash : 0;
  epoch = next_epoch();
  follows = nullptr;
  prefix_known = true;
  tail = false;
}

// What is work enough depends on sizes. Where a program is known it decides, or each size would end
// the trace elsewhere, and make programs of its own.
bool Trace::ends_early(size_t enough) const {
  if (follows != nullptr && prefix_known) return follows->cut && ops.size() == follows->signatures.size();
  return ops.size() >= enough && ops.back().signature->heavy;
}

bool Trace::should_flush() const {
  if (control || owner != 0) return false;
  if (follows != nullptr && prefix_known && follows->cut_at == ops.size()) return true;
  // An executor that waits is given its first work early, then ever larger pieces.
  const size_t enough = kHeavyMin << std::min(early_flushes, 16U);
  if (enough < kFlushMin && ends_early(enough)) return true;
  if (ops.size() < kFlushMin) return false;
  const auto latest = recent[(appended - 1) % recent.size()];
  return ops.size() >= kFlushMax || latest == *std::max_element(recent.begin(), recent.end());
}

}  // namespace genie
