#include "recorder.h"

#include "codec.h"
#include "device.h"
#include "mark.h"
#include "shadow.h"

#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace genie {
namespace {

struct DeviceState {
  Trace trace;
  ProgramTable programs;
  Counters counters;
  RunLog log;
};

std::mutex core_mutex;
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

CallWriter& scratch() {
  thread_local CallWriter writer;
  writer.reset();
  return writer;
}

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

void record_pseudo(int device, PseudoCall& call) {
  const TraceLock lock(device);
  auto& trace = state(device).trace;
  append(trace, pseudo_signature(call.writer, false), call.writer);
}

// ---- outputs --------------------------------------------------------------------------------

at::Tensor tensor_of(c10::TensorImpl* impl) {
  return at::Tensor(c10::intrusive_ptr<c10::TensorImpl>::reclaim_copy(impl));
}

void set_geometry(c10::TensorImpl* impl, const OutputSpec& spec) {
  const auto& storage = impl->unsafe_storage();
  if (spec.nbytes > storage.nbytes()) {
    resize_value(*value_of(storage), spec.nbytes);
    storage.unsafeGetStorageImpl()->set_nbytes(spec.nbytes);
  }
  impl->set_sizes_and_strides(spec.geometry.size, spec.geometry.stride, spec.geometry.offset);
}

at::Tensor make_output(const OutputSpec& spec, int device) {
  const auto& g = spec.geometry;
  return make_view_unchecked(make_storage(spec.nbytes, device), c10::DispatchKey::PrivateUse1, g.dtype, g.flags,
                             g.offset, g.size, g.stride);
}

// The results of a call in flat order: new tensors, or the operands themselves.
void make_outputs(const Signature& signature, const CallWriter& call, Results& flat) {
  for (const auto& spec : signature.outputs) {
    if (spec.kind == OutputSpec::Alias) {
      flat.push_back(tensor_of(call.operands[spec.operand].tensor));
    } else if (spec.kind == OutputSpec::Undefined) {
      flat.emplace_back();
    } else {
      flat.push_back(make_output(spec, call.device));
    }
  }
}

void push_results(const Signature& signature, Results& flat, torch::jit::Stack* stack) {
  size_t next = 0;
  for (const int count : signature.returns) {
    if (count < 0) {
      stack->emplace_back(std::move(flat[next++]));
    } else {
      stack->emplace_back(std::vector<at::Tensor>(flat.begin() + next, flat.begin() + next + count));
      next += count;
    }
  }
}

bool follow_known_prefix(DeviceState& device) {
  auto& trace = device.trace;
  if (!trace.prefix_known) return false;
  trace.prefix_known = device.programs.knows_prefix(trace.hash);
  return trace.prefix_known;
}

void note_origin(int device, size_t index, uint32_t epoch) {
  const auto origin = host().origin();
  const CoreLock lock;
  auto& trace = state(device).trace;
  if (trace.epoch != epoch || index >= trace.ops.size()) return;
  trace.origins.resize(trace.ops.size(), 0);
  trace.origins[index] = origin;
}

// ---- the three ways of an op ----------------------------------------------------------------

struct Recorded {
  bool flush = false;
  bool new_ground = false;
  size_t index = 0;
  uint32_t epoch = 0;
};

Recorded commit(Signature* signature, const CallWriter& call, const torch::jit::Stack& stack,
                Results& flat) {
  auto& device = state(call.device);
  auto& trace = device.trace;
  append(trace, signature, call, mark_of(call));
  make_outputs(*signature, call, flat);
  for (size_t i = 0; i < flat.size(); ++i) {
    if (signature->outputs[i].kind == OutputSpec::New) trace.add_output(value_of(*flat[i].unsafeGetTensorImpl()));
  }
  update_shadows(*signature, call, stack, flat);
  for (const auto& spec : signature->resized) set_geometry(call.operands[spec.operand].tensor, spec);
  ++device.counters.ops;
  Recorded result;
  result.new_ground = !follow_known_prefix(device);
  result.index = trace.ops.size() - 1;
  result.epoch = trace.epoch;
  result.flush = trace.should_flush();
  return result;
}

OutputSpec decode_spec(Decoder& in) {
  OutputSpec spec;
  auto& g = spec.geometry;
  g.dtype = static_cast<at::ScalarType>(in.varint());
  g.flags = static_cast<uint8_t>(in.varint());
  const size_t rank = in.count();
  for (size_t i = 0; i < rank; ++i) g.size.push_back(in.varint_signed());
  for (size_t i = 0; i < rank; ++i) g.stride.push_back(in.varint_signed());
  g.offset = in.varint_signed();
  spec.nbytes = in.varint();
  return spec;
}

c10::TensorImpl* decode_operand(Decoder& in, const CallWriter& call) {
  const auto operand = in.varint();
  const auto spec = decode_spec(in);
  TORCH_CHECK_VALUE(operand < call.operands.size() && call.operands[operand].tensor != nullptr, "bad operand");
  set_geometry(call.operands[operand].tensor, spec);
  return call.operands[operand].tensor;
}

// Results as the executor reported them; new values take consecutive ids from `next_id`.
c10::IValue decode_result(Decoder& in, const CallWriter& call, uint64_t& next_id) {
  switch (in.varint()) {
    case 0: {
      const auto spec = decode_spec(in);
      auto tensor = make_output(spec, call.device);
      auto* value = value_of(*tensor.unsafeGetTensorImpl());
      value->id = next_id++;
      value->materialized = true;
      return tensor;
    }
    case 1:
      return at::Tensor();
    case 2:
      return in.varint_signed();
    case 3: {
      const uint64_t bits = in.fixed();
      double number = 0;
      std::memcpy(&number, &bits, sizeof number);
      return number;
    }
    case 4:
      return in.varint() != 0;
    case 5: {
      std::vector<at::Tensor> list(in.count());
      for (auto& item : list) item = decode_result(in, call, next_id).toTensor();
      return list;
    }
    case 6:  // an operand, with the geometry that it has now
      return tensor_of(decode_operand(in, call));
    default:
      TORCH_CHECK_VALUE(false, "the executor sent an unknown kind of result");
  }
}

// Keeps what the executor said of an op whose outputs depend on its signature alone.
void learn_outputs(Signature* asked, const CallWriter& call, const std::vector<c10::IValue>& results) {
  auto answer = std::make_unique<Signature>();
  answer->op = asked->op;
  const auto describe = [&](const at::Tensor& tensor) {
    OutputSpec spec;
    if (!tensor.defined()) {
      spec.kind = OutputSpec::Undefined;
    } else {
      spec.geometry = geometry_of(tensor);
      spec.nbytes = tensor.storage().nbytes();
      for (size_t i = 0; i < call.operands.size(); ++i) {
        if (call.operands[i].tensor != tensor.unsafeGetTensorImpl()) continue;
        spec.kind = OutputSpec::Alias;
        spec.operand = static_cast<int>(i);
      }
    }
    answer->outputs.push_back(spec);
  };
  for (const auto& result : results) {
    if (result.isTensor()) {
      answer->returns.push_back(-1);
      describe(result.toTensor());
    } else if (result.isTensorList()) {
      const auto list = result.toTensorVector();
      answer->returns.push_back(static_cast<int>(list.size()));
      for (const auto& tensor : list) describe(tensor);
    } else {
      return;
    }
  }
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
  uint32_t epoch = 0;
  {
    const TraceLock lock(call.device);
    auto& trace = state(call.device).trace;
    append(trace, signature, call, mark_of(call));
    for (const auto& operand : call.operands) {
      if (operand.written) operand.value->shadow = {};
    }
    trace.tail = true;
    epoch = trace.epoch;
    ++state(call.device).counters.ops;
  }
  std::string reply;
  try {
    reply = host().flush(call.device, FlushReason::UnknownShape);
  } catch (...) {
    abandon_tail(call.device, epoch);
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

// A composite op whose device argument points elsewhere is the composite's business.
bool leaves_device(const OpInfo& info, const torch::jit::Stack& stack, size_t first) {
  for (size_t i = 0; i < info.args.size(); ++i) {
    const auto& item = stack[first + i];
    if (item.isDevice() && !item.toDevice().is_privateuseone()) return true;
  }
  return false;
}

Signature* learn(OpInfo& info, const torch::jit::Stack& stack, size_t first, const CallWriter& call, uint64_t hash) {
  check_device(call.device);
  const torch::jit::Stack arguments(stack.begin() + static_cast<std::ptrdiff_t>(first), stack.end());
  const CallWriter key = call;  // the inference may record, and so reuse the scratch writer
  auto fresh = host().infer(info, arguments, key.device);
  fresh->op = &info;
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
  const auto recorded = commit(signature, call, *stack, flat);
  lock.release();
  const int device = call.device;
  torch::jit::drop(*stack, arguments);
  push_results(*signature, flat, stack);
  if (recorded.new_ground) note_origin(device, recorded.index, recorded.epoch);
  if (recorded.flush) host().flush(device, FlushReason::Size);
}

}  // namespace

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
  if (leaves_device(info, *stack, first)) return op.callBoxedForDispatchKey(c10::DispatchKey::CPU, *stack);
  if (info.bumps_versions && !counted) {
    const auto written = written_lists(info, *stack, first);
    record_op(op, stack, true);
    for (const auto& tensor : written) tensor.unsafeGetTensorImpl()->bump_version();
    return;
  }
  auto* call = &scratch();
  call->write_call(info, *stack, first);
  const auto hash = call->hash();
  CallWriter kept;
  Signature* signature = nullptr;
  {
    TraceLock lock(call->device);
    signature = signatures().find(*call, hash);
    if (signature != nullptr) {
      if (signature->learned != nullptr) signature = signature->learned;
      ++state(call->device).counters.signature_hits;
      if (signature->kind == Signature::Known) return finish_known(signature, *call, lock, arguments, stack);
    }
  }
  kept = *call;
  const bool learned = signature == nullptr;
  if (learned) signature = learn(info, *stack, first, kept, hash);
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

using Gone = std::vector<std::unique_ptr<Value, ValueDeleter>>;

// Ids that the executor may forget; those that the trace itself makes are not among them.
std::vector<uint64_t> take_dropped(int device, const Trace& trace, Gone& gone) {
  std::vector<uint64_t> freed;
  for (Value* value = drop_list(device).take(); value != nullptr;) {
    Value* next = value->next;
    value->dead = true;
    const bool made_here = value->epoch == trace.epoch && value->materialized && trace.made_here[value->slot];
    if (value->materialized && !made_here) freed.push_back(value->id);
    gone.emplace_back(value);
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
  Gone gone;
  return take_dropped(device, trace, gone);
}

Optional<Sealed> seal(int device, bool waits, bool asks) {
  const CoreLock lock;
  auto& current = state(device);
  auto& trace = current.trace;
  if (trace.tail && !asks) return nullopt;
  Sealed sealed;
  Gone gone;  // the trace may name them until it is encoded
  sealed.freed = take_dropped(device, trace, gone);
  sealed.ops = trace.ops.size();
  sealed.tail = trace.tail;
  if (!trace.ops.empty()) {
    std::vector<int64_t> symbols;
    std::tie(sealed.program, sealed.is_new) = current.programs.resolve(trace, symbols);
    ++(sealed.is_new ? current.counters.programs_built : current.counters.program_hits);
    current.log.add(sealed.program->id, trace);
    if (sealed.is_new) sealed.forward = current.log.forwards(sealed.program->marks);
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
  state(device).programs.forget(id);
}

void materialize(Value* value) {
  const TraceLock lock(value->device);
  ensure(state(value->device).trace, value);
}

bool claim_upload(Value* value) {
  const CoreLock lock;
  if (value->materialized) return false;
  value->materialized = true;
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
