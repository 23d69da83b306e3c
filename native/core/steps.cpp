#include "steps.h"

#include "shadow/shadow.h"

namespace genie {

Signature* pseudo_signature(const CallWriter& writer, bool makes_value) {
  const auto hash = writer.hash();
  if (auto* found = signatures().find(writer, hash)) return found;
  auto fresh = std::make_unique<Signature>();
  if (makes_value) {
    OutputSpec made;
    made.geometry.dtype = at::ScalarType::Byte;
    fresh->outputs.push_back(made);
    fresh->returns.push_back(-1);
  }
  return signatures().insert(writer, hash, std::move(fresh));
}

void make_value(Trace& trace, Value* value, const c10::TensorImpl* tensor) {
  if (trace.control && value->id < trace.control->first_id) return make_value(trace.control->outer, value, tensor);
  check_outer(*value);
  if (tensor != nullptr) value->shadow = blank_shadow(c10::typeMetaToScalarType(tensor->dtype()), value->nbytes);
  PseudoCall call(value->generator ? kMakeGenerator : kAlloc);
  if (value->generator) {
    call.number(static_cast<int64_t>(c10::default_rng_seed_val));
  } else {
    call.literal(static_cast<int64_t>(value->nbytes));
  }
  trace.append(pseudo_signature(call.writer, true), call.writer);
  trace.add_output(value);
}

namespace {

// Is the trace, with the ops that were appended after the first `before`, the beginning of a known program?
bool follow_known_prefix(DeviceState& device, size_t before) {
  auto& trace = device.trace;
  if (!trace.prefix_known) return false;
  const size_t last = trace.ops.size() - 1;
  const auto* program = trace.follows;
  if (program != nullptr && last < program->prefixes.size() && program->prefixes[last] == trace.hash) return true;
  trace.follows = device.programs.with_prefix(trace.hash);
  trace.prefix_known = trace.follows != nullptr;
  if (!trace.prefix_known && program != nullptr) trace.origins = program->lend_origins(before);
  return trace.prefix_known;
}

}  // namespace

Ground survey(DeviceState& device, size_t before) {
  const bool is_new = !follow_known_prefix(device, before);
  return {is_new, device.trace.ops.size() - 1, device.trace.epoch};
}

void note_origin(int device, const Ground& ground) {
  if (!ground.is_new) return;
  const auto origin = host().origin();
  const CoreLock lock;
  auto& trace = state(device).trace;
  if (trace.epoch != ground.epoch || ground.index >= trace.ops.size()) return;
  if (trace.origins.size() <= ground.index) trace.origins.resize(ground.index + 1, 0);
  trace.origins[ground.index] = origin;
  // The steps before it that made its operands are of the same place.
  for (size_t i = ground.index; i-- > 0 && trace.origins[i] == 0;) trace.origins[i] = origin;
}

void record_pseudo(int device, PseudoCall& call) {
  Ground ground;
  {
    const TraceLock lock(device);
    auto& trace = state(device).trace;
    const size_t before = trace.ops.size();
    append(trace, pseudo_signature(call.writer, false), call.writer);
    ground = survey(state(device), before);
  }
  note_origin(device, ground);
}

namespace {

void record_resize(Value* storage, size_t nbytes) {
  {
    const CoreLock lock;
    if (storage->shadow) storage->shadow = {};
    resize_value(*storage, nbytes);
    if (!storage->materialized) return;
  }
  PseudoCall call(kResize);
  call.value(storage).literal(static_cast<int64_t>(nbytes));
  record_pseudo(storage->device, call);
}

}  // namespace

void resize_storage(const c10::Storage& storage, size_t nbytes) {
  if (nbytes > storage.nbytes()) record_resize(value_of(storage), nbytes);
  storage.unsafeGetStorageImpl()->set_nbytes(nbytes);
}

void materialize(Value* value) {
  Ground ground;
  {
    const TraceLock lock(value->device);
    auto& device = state(value->device);
    const size_t before = device.trace.ops.size();
    if (!value->materialized) make_value(device.trace, value);
    if (device.trace.ops.size() > before) ground = survey(device, before);
  }
  note_origin(value->device, ground);
}

}  // namespace genie
