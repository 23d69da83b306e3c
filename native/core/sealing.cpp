// A trace's end: what was recorded becomes a run of a program, with the frees since the last one.
#include "state.h"

#include <algorithm>

namespace genie {
namespace {

constexpr uint64_t kTailIds = 4096;  // ids set aside for outputs whose number is not known

// Ids that the executor may forget; those that the trace itself makes are not among them.
std::vector<uint64_t> take_dropped(int device, const Trace& trace, GoneValues& gone) {
  std::vector<uint64_t> freed;
  for (Value* value = drop_list(device).take(); value != nullptr;) {
    Value* next = value->next;
    value->dead = true;
    const bool made_here = value->epoch == trace.epoch && value->materialized && trace.made_here[value->slot];
    if (value->materialized && !made_here) freed.push_back(value->id);
    gone.add(value);
    value = next;
  }
  std::sort(freed.begin(), freed.end());
  return freed;
}

}  // namespace

std::vector<uint64_t> collect_freed(int device) {
  const CoreLock lock;
  const auto& trace = state(device).trace;
  if (trace.control || !trace.ops.empty()) return {};
  GoneValues gone;
  return take_dropped(device, trace, gone);
}

Optional<Sealed> seal(int device, bool waits, bool asks) {
  const CoreLock lock;
  auto& current = state(device);
  auto& trace = current.trace;
  if (trace.control) return check_open(trace), nullopt;
  if (trace.tail && !asks) return nullopt;
  Sealed sealed;
  GoneValues gone;  // the trace may name them until it is encoded
  sealed.freed = take_dropped(device, trace, gone);
  sealed.ops = trace.ops.size();
  sealed.tail = trace.tail;
  if (!trace.ops.empty()) {
    std::tie(sealed.program, sealed.is_new) = current.programs.resolve(trace, sealed.symbols);
    sealed.program->cut = !waits;
    ++(sealed.is_new ? current.counters.programs_built : current.counters.program_hits);
    sealed.forgotten = current.programs.take_forgotten();
    current.log.add(sealed.program->id, trace);
    if (sealed.is_new) {
      sealed.forward = current.log.forwards(sealed.program->marks);
      for (const auto slot : sealed.program->bound) sealed.values.push_back({trace.by_slot[slot]->id, trace.by_slot[slot]->uploaded});
    }
    const uint64_t base = reserve_ids(device, trace.tail ? kTailIds : 1);
    sealed.payload = encode_run(*sealed.program, trace, sealed.symbols, sealed.freed, base);
    sealed.freed.clear();
  }
  trace.clear();
  trace.early_flushes = waits ? 0 : trace.early_flushes + 1;
  if (signatures().crowded()) {
    bool idle = true;
    for (int i = 0; i < kMaxDevices; ++i) idle = idle && state(i).trace.ops.empty() && !state(i).trace.control;
    if (idle) signatures().evict();
  }
  return sealed;
}

void forget_program(int device, uint32_t id) {
  const CoreLock lock;
  auto& current = state(device);
  current.trace.follows = nullptr;
  current.programs.forget(id);
}

void cut_program(int device, uint32_t id, size_t ops) {
  const CoreLock lock;
  state(device).programs.cut(id, ops);
}

void limit_programs(int device, size_t limit) {
  const CoreLock lock;
  state(device).programs.set_limit(limit);
}

bool claim_upload(Value* value) {
  const CoreLock lock;
  if (value->materialized) return false;
  value->materialized = value->uploaded = true;
  return true;
}

void set_shadow(Value* value, c10::Storage shadow) {
  const CoreLock lock;
  value->shadow = std::move(shadow);
}

c10::Storage shadow_of(Value* value) {
  const CoreLock lock;
  if (value->shadow) ++state(value->device).counters.host_reads;
  return value->shadow;
}

Counters counters(int device) {
  const CoreLock lock;
  return state(device).counters;
}

void reset_counters(int device) {
  const CoreLock lock;
  state(device).counters = {};
}

}  // namespace genie
