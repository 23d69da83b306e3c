#include "steps.h"

#include "device.h"
#include "mark.h"
#include "output.h"

#include "shadow/shadow.h"

namespace genie {
namespace {

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

}  // namespace

Ground pose_question(Signature* signature, const CallWriter& call) {
  auto& device = state(call.device);
  const size_t before = device.trace.ops.size();
  append(device.trace, signature, call, mark_of(call));
  forget_shadows(call);
  device.trace.tail = true;
  ++device.counters.ops;
  return survey(device, before);
}

std::vector<c10::IValue> await_answer(Signature* signature, const CallWriter& call, const Ground& ground) {
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

std::vector<c10::IValue> ask_executor(Signature* signature, const CallWriter& call) {
  TraceLock lock(call.device);
  const auto ground = pose_question(signature, call);
  lock.release();
  return await_answer(signature, call, ground);
}

namespace {

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
  TraceLock lock(device);
  auto* signature = find_signature(call);
  if (signature == nullptr || signature->kind != Signature::Known || computable(*signature, call)) return false;
  ++state(device).counters.signature_hits;
  const auto recorded = commit(signature, call, flat);
  forget_shadows(call);
  lock.release();
  if (aliases) fill_aliases(*signature, call, flat);
  conclude(device, recorded);
  return true;
}

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

}  // namespace genie
