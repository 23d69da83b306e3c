#include "recorder.h"

#include "device.h"
#include "mark.h"
#include "output.h"

#include "program/run_log.h"
#include "shadow/shadow.h"

#include <algorithm>
#include <array>

namespace genie {
namespace {

struct DeviceState {
  Trace trace;
  ProgramTable programs;
  Counters counters;
  RunLog log;
};

CoreMutex core_mutex;
SignatureCache& signatures() {
  static auto* cache = new SignatureCache();
  return *cache;
}

DeviceState& state(int device) {
  static auto* all = new std::array<DeviceState, kMaxDevices>();
  return all->at(device);
}

class CoreLock {
 public:
  CoreLock() {
    if (!core_mutex.try_lock()) host().lock(core_mutex);
  }
  ~CoreLock() { core_mutex.unlock(); }
  CoreLock(const CoreLock&) = delete;
  CoreLock& operator=(const CoreLock&) = delete;
};

// The lock, once no other thread waits for the outputs of the open trace's last op: nothing may be
// recorded behind that op. The wait is short; the trace is sealed before its reply is awaited.
class TraceLock {
 public:
  explicit TraceLock(int device) {
    check_fork();
    lock_.emplace();
    while (state(device).trace.tail) {
      lock_.reset();
      host().pause();
      lock_.emplace();
    }
  }
  void release() { lock_.reset(); }

 private:
  Optional<CoreLock> lock_;
};

std::unique_ptr<Host>& host_slot() {
  static auto* slot = new std::unique_ptr<Host>();
  return *slot;
}

constexpr uint64_t kTailIds = 4096;  // ids set aside for outputs whose number is not known

// ---- pseudo-ops -----------------------------------------------------------------------------

struct PseudoCall {
  CallWriter writer;
  explicit PseudoCall(PseudoOp op) { writer.structure.push_back(op); }
  PseudoCall& value(Value* operand) {
    writer.structure.push_back(word(Tag::Generator));
    writer.operands.push_back({nullptr, operand, true});
    return *this;
  }
  PseudoCall& literal(int64_t number) {
    writer.structure.push_back(word(Tag::Int));
    writer.literals.push_back(number);
    return *this;
  }
  PseudoCall& number(int64_t bits) {
    writer.structure.push_back(word(Tag::IntValue));
    writer.values.push_back(bits);
    return *this;
  }
};

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

// With the lock held: the open trace makes `value` unless the executor has it.
void ensure(Trace& trace, Value* value, const c10::TensorImpl* tensor = nullptr) {
  if (value->materialized) return;
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

void append(Trace& trace, Signature* signature, const CallWriter& call, const Mark& mark = {}) {
  for (const auto& operand : call.operands) ensure(trace, operand.value, operand.tensor);
  trace.append(signature, call, mark);
}

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

// What the program that the trace follows has next, if it is this call: found without a hash.
Signature* foreseen(const Trace& trace, const CallWriter& call) {
  if (trace.follows == nullptr || trace.ops.size() >= trace.follows->signatures.size()) return nullptr;
  auto* next = trace.follows->signatures[trace.ops.size()];
  return next->kind == Signature::Known && next->describes(call) ? next : nullptr;
}

Signature* find_signature(const CallWriter& call) {
  if (auto* next = foreseen(state(call.device).trace, call)) return next;
  auto* found = signatures().find(call, call.hash());
  return found != nullptr && found->learned != nullptr ? found->learned : found;
}

// What was appended last, and whether no known program begins so.
struct Ground {
  bool is_new = false;
  size_t index = 0;
  uint32_t epoch = 0;
};

Ground survey(DeviceState& device, size_t before) {
  const bool is_new = !follow_known_prefix(device, before);
  return {is_new, device.trace.ops.size() - 1, device.trace.epoch};
}

// On new ground, asks where in the user's code that is. Called with no lock held.
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

// ---- the three ways of an op ----------------------------------------------------------------

// What is left to be done once the lock is released.
struct Recorded {
  bool flush = false;
  Ground ground;
};

Recorded commit(Signature* signature, const CallWriter& call, Results& flat) {
  auto& device = state(call.device);
  auto& trace = device.trace;
  const size_t before = trace.ops.size();
  append(trace, signature, call, mark_of(call));
  make_outputs(*signature, call, flat);
  for (size_t i = 0; i < flat.size(); ++i) {
    if (signature->outputs[i].kind == OutputSpec::New) trace.add_output(value_of(*flat[i].unsafeGetTensorImpl()));
  }
  for (const auto& spec : signature->resized) set_geometry(call.operands[spec.operand].tensor, spec);
  ++device.counters.ops;
  Recorded result;
  result.ground = survey(device, before);
  result.flush = trace.should_flush();
  return result;
}

void conclude(int device, const Recorded& recorded) {
  note_origin(device, recorded.ground);
  if (recorded.flush) host().flush(device, FlushReason::Size);
}

// Keeps what the executor said of an op whose outputs depend on its signature alone.
void learn_outputs(Signature* asked, const CallWriter& call, const std::vector<c10::IValue>& results) {
  auto answer = describe_results(*asked, call, results);
  if (answer == nullptr) return;
  const CoreLock lock;
  signatures().learn(asked, call, std::move(answer));
}

// A flush that failed before it sealed leaves no trace behind that would block everybody.
void abandon_tail(int device, uint32_t epoch) {
  const CoreLock lock;
  auto& trace = state(device).trace;
  if (trace.epoch == epoch) trace.clear();
}

// Flushes with `call` as the last op and takes its outputs from the reply.
std::vector<c10::IValue> ask_executor(Signature* signature, const CallWriter& call) {
  Ground ground;
  {
    const TraceLock lock(call.device);
    auto& trace = state(call.device).trace;
    const size_t before = trace.ops.size();
    append(trace, signature, call, mark_of(call));
    for (const auto& operand : call.operands) {
      if (operand.written) operand.value->shadow = {};
    }
    trace.tail = true;
    ground = survey(state(call.device), before);
    ++state(call.device).counters.ops;
  }
  std::string reply;
  try {
    note_origin(call.device, ground);
    reply = host().flush(call.device, FlushReason::UnknownShape);
  } catch (...) {
    abandon_tail(call.device, ground.epoch);
    throw;
  }
  Decoder in(reply);
  uint64_t next_id = in.varint();
  std::vector<c10::IValue> results(in.count());
  for (auto& result : results) result = decode_result(in, call, next_id);
  const size_t resized = in.count();
  for (size_t i = 0; i < resized; ++i) decode_operand(in, call);
  if (signature->learns && resized == 0) learn_outputs(signature, call, results);
  return results;
}

void replace(torch::jit::Stack* stack, size_t arguments, std::vector<c10::IValue> results) {
  torch::jit::drop(*stack, arguments);
  for (auto& result : results) stack->push_back(std::move(result));
}

// CPU index tensors go along with a device tensor, as they may on any accelerator.
void upload_indices(OpInfo& info, torch::jit::Stack* stack, size_t first) {
  at::Device target = stack->at(first).toTensor().device();
  for (size_t i = 1; i < info.args.size(); ++i) {
    auto& item = stack->at(first + i);
    if (!target.is_privateuseone()) return;
    if (item.isTensor() && item.toTensor().defined() && item.toTensor().is_cpu() && item.toTensor().dim() > 0) {
      item = item.toTensor().to(target);
    } else if (item.isList() && !item.isIntList()) {
      auto list = c10::impl::toTypedList<Optional<at::Tensor>>(item.to<c10::List<c10::IValue>>().copy());
      c10::List<Optional<at::Tensor>> moved;
      for (size_t k = 0; k < list.size(); ++k) {
        Optional<at::Tensor> tensor = list.get(k);
        if (tensor && tensor->defined() && tensor->is_cpu()) tensor = tensor->to(target);
        moved.push_back(tensor);
      }
      item = moved;
    }
  }
}

std::vector<at::Tensor> written_lists(const OpInfo& info, const torch::jit::Stack& stack, size_t first) {
  std::vector<at::Tensor> found;
  for (size_t i = 0; i < info.args.size(); ++i) {
    if (!info.written[i] || !stack[first + i].isTensorList()) continue;
    for (const at::Tensor& tensor : stack[first + i].toTensorList()) found.push_back(tensor);
  }
  return found;
}

bool leaves_device(const OpInfo& info, const torch::jit::Stack& stack, size_t first) {
  for (size_t i = 0; i < info.args.size(); ++i) {
    const auto& item = stack[first + i];
    if (item.isDevice() && !item.toDevice().is_privateuseone()) return true;
    if (info.written[i] && item.isTensor() && item.toTensor().defined() && item.toTensor().is_cpu()) return true;
  }
  return false;
}

// A composite op whose result is to be elsewhere is the composite's business.
bool run_composite(const OpInfo& info, const c10::OperatorHandle& op, torch::jit::Stack* stack, size_t first) {
  using c10::DispatchKey;
  if (!leaves_device(info, *stack, first)) return false;
  for (const auto key : {DispatchKey::CompositeExplicitAutograd, DispatchKey::CompositeExplicitAutogradNonFunctional,
                         DispatchKey::CompositeImplicitAutograd}) {
    if (!op.hasKernelForDispatchKey(key)) continue;
    op.callBoxedForDispatchKey(key, *stack);
    return true;
  }
  return false;
}

Signature* learn(OpInfo& info, const torch::jit::Stack& stack, size_t first, const CallWriter& call) {
  check_device(call.device);
  const torch::jit::Stack arguments(stack.begin() + static_cast<std::ptrdiff_t>(first), stack.end());
  const CallWriter key = call;  // the inference may record, and so reuse the scratch writer
  auto fresh = host().infer(info, arguments, key.device);
  fresh->op = &info;
  const auto hash = key.hash();
  const CoreLock lock;
  ++state(key.device).counters.signature_misses;
  auto* signature = signatures().find(key, hash);
  if (signature == nullptr) signature = signatures().insert(key, hash, std::move(fresh));
  if (signature->learned != nullptr) signature = signature->learned;
  ++signature->pins;  // until it is in a trace; the few that are no answers stay
  return signature;
}

void finish_known(Signature* signature, const CallWriter& call, TraceLock& lock, size_t arguments,
                  torch::jit::Stack* stack) {
  Results flat;
  const auto recorded = commit(signature, call, flat);
  ++state(call.device).counters.boxed;
  update_shadows(*signature, call, *stack, flat);
  lock.release();
  const int device = call.device;
  fill_aliases(*signature, call, flat);
  torch::jit::drop(*stack, arguments);
  push_results(*signature, flat, stack);
  conclude(device, recorded);
}

}  // namespace

CallWriter& scratch() {
  thread_local CallWriter* writer = nullptr;  // has no constructor that each op would have to look for
  if (writer == nullptr) {
    thread_local CallWriter owner;
    writer = &owner;
  }
  writer->reset();
  return *writer;
}

bool record_known(const CallWriter& call, bool aliases, Results& flat) {
  const int device = call.device;
  Recorded recorded;
  {
    const TraceLock lock(device);
    auto* signature = find_signature(call);
    if (signature == nullptr || signature->kind != Signature::Known || computable(*signature, call)) return false;
    ++state(device).counters.signature_hits;
    recorded = commit(signature, call, flat);
    forget_shadows(call);
    if (aliases) fill_aliases(*signature, call, flat);
  }
  conclude(device, recorded);
  return true;
}

Host& host() {
  TORCH_CHECK(has_host(), "remote_accelerator is not initialised: import genie_core");
  return *host_slot();
}
bool has_host() { return host_slot() != nullptr; }
void set_host(std::unique_ptr<Host> host) { host_slot() = std::move(host); }

namespace {

void record_op(const c10::OperatorHandle& op, torch::jit::Stack* stack, bool counted) {
  auto& info = op_info(op);
  const size_t arguments = info.args.size();
  const size_t first = stack->size() - arguments;
  if (info.uploads_indices) upload_indices(info, stack, first);
  if (run_composite(info, op, stack, first)) return;
  if (info.bumps_versions && !counted) {
    const auto written = written_lists(info, *stack, first);
    record_op(op, stack, true);
    for (const auto& tensor : written) tensor.unsafeGetTensorImpl()->bump_version();
    return;
  }
  auto* call = &scratch();
  call->write_call(info, *stack, first);
  CallWriter kept;
  Signature* signature = nullptr;
  {
    TraceLock lock(call->device);
    signature = find_signature(*call);
    if (signature != nullptr) {
      ++state(call->device).counters.signature_hits;
      if (signature->kind == Signature::Known) return finish_known(signature, *call, lock, arguments, stack);
    }
  }
  kept = *call;
  const bool learned = signature == nullptr;
  if (learned) signature = learn(info, *stack, first, kept);
  if (signature->kind == Signature::Fallback) return host().fallback(info, stack, kept.device);
  if (signature->kind == Signature::AskExecutor) return replace(stack, arguments, ask_executor(signature, kept));
  TraceLock lock(kept.device);
  if (learned) --signature->pins;
  finish_known(signature, kept, lock, arguments, stack);
}

}  // namespace

void record(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) { record_op(op, stack, false); }

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

void record_seed(Value* generator, uint64_t seed) {
  PseudoCall call(kSeed);
  call.value(generator).number(static_cast<int64_t>(seed));
  record_pseudo(generator->device, call);
}

void record_set_state(Value* generator, const at::Tensor& state_tensor) {
  PseudoCall call(kSetState);
  auto* impl = state_tensor.unsafeGetTensorImpl();
  call.value(generator).literal(impl->numel());
  call.value(value_of(*impl));
  record_pseudo(generator->device, call);
}

at::Tensor record_get_state(Value* generator) {
  PseudoCall call(kGetState);
  call.value(generator);
  call.writer.device = generator->device;
  Signature* signature = nullptr;
  {
    const CoreLock lock;
    signature = pseudo_signature(call.writer, false);
    signature->kind = Signature::AskExecutor;
  }
  return ask_executor(signature, call.writer).at(0).toTensor();
}

namespace {

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
  if (!trace.ops.empty()) return {};
  GoneValues gone;
  return take_dropped(device, trace, gone);
}

Optional<Sealed> seal(int device, bool waits, bool asks) {
  const CoreLock lock;
  auto& current = state(device);
  auto& trace = current.trace;
  if (trace.tail && !asks) return nullopt;
  Sealed sealed;
  GoneValues gone;  // the trace may name them until it is encoded
  sealed.freed = take_dropped(device, trace, gone);
  sealed.ops = trace.ops.size();
  sealed.tail = trace.tail;
  if (!trace.ops.empty()) {
    std::vector<int64_t> symbols;
    std::tie(sealed.program, sealed.is_new) = current.programs.resolve(trace, symbols);
    ++(sealed.is_new ? current.counters.programs_built : current.counters.program_hits);
    current.log.add(sealed.program->id, trace);
    if (sealed.is_new) {
      sealed.forward = current.log.forwards(sealed.program->marks);
      for (const auto slot : sealed.program->bound) sealed.values.push_back({trace.by_slot[slot]->id, trace.by_slot[slot]->uploaded});
    }
    const uint64_t base = reserve_ids(device, trace.tail ? kTailIds : 1);
    sealed.payload = encode_run(*sealed.program, trace, symbols, sealed.freed, base);
    sealed.freed.clear();
  }
  trace.clear();
  trace.early_flushes = waits ? 0 : trace.early_flushes + 1;
  if (signatures().crowded()) {
    bool idle = true;
    for (int i = 0; i < kMaxDevices; ++i) idle = idle && state(i).trace.ops.empty();
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

void materialize(Value* value) {
  Ground ground;
  {
    const TraceLock lock(value->device);
    auto& device = state(value->device);
    const size_t before = device.trace.ops.size();
    ensure(device.trace, value);
    if (device.trace.ops.size() > before) ground = survey(device, before);
  }
  note_origin(value->device, ground);
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
