#include "frame.h"
#include "loans.h"
#include "rewrite.h"

#include "program/trace.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cstring>

namespace genie {
namespace {

std::string exception_kind(const std::exception& error) {
  if (dynamic_cast<const c10::IndexError*>(&error)) return "IndexError";
  if (dynamic_cast<const c10::ValueError*>(&error)) return "ValueError";
  if (dynamic_cast<const c10::TypeError*>(&error)) return "TypeError";
  if (dynamic_cast<const c10::NotImplementedError*>(&error)) return "NotImplementedError";
  if (dynamic_cast<const c10::LinAlgError*>(&error)) return "LinAlgError";
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error)) return "OutOfMemoryError";
  return "RuntimeError";
}

std::string plain_message(const std::exception& error) {
  if (const auto* torch_error = dynamic_cast<const c10::Error*>(&error)) return torch_error->what_without_backtrace();
  return error.what();
}

at::Tensor scalar_tensor(at::ScalarType dtype, bool wrapped, int64_t low, int64_t high) {
  auto tensor = at::empty({}, at::TensorOptions().dtype(dtype));
  const int64_t bits[2] = {low, high};
  std::memcpy(tensor.data_ptr(), bits, std::min(sizeof bits, size_t(tensor.element_size())));
  if (wrapped) tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

double as_double(int64_t bits) {
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Do the same elements lie at the same places? Strides of dimensions of one element say nothing.
bool same_layout(const at::Tensor& tensor, const Geometry& g) {
  if (tensor.is_conj() || tensor.is_neg() || g.flags != 0) return false;
  if (tensor.numel() == 0) return true;
  if (tensor.storage_offset() != g.offset) return false;
  for (size_t i = 0; i < g.size.size(); ++i) {
    if (g.size[i] > 1 && tensor.stride(static_cast<int64_t>(i)) != g.stride[i]) return false;
  }
  return true;
}

}  // namespace

Optional<std::string> Replayer::run(std::string_view payload) {
  Decoder in(payload);
  const auto id = static_cast<int64_t>(in.varint());
  const auto found = programs_.find(id);
  TORCH_CHECK_VALUE(found != programs_.end(), "program ", id, " was not defined in this session");
  auto& program = *found->second;
  const auto bindings = decode_bindings(program, in);

  const at::AutoDispatchBelowADInplaceOrView below;
  const at::NoGradGuard no_grad;
  const c10::OptionalDeviceGuard device_guard(store_.device().is_cpu() ? Optional<c10::Device>() : store_.device());
  auto* rewrite = program.rewrite && program.rewrite->serves(program, bindings) ? program.rewrite.get() : nullptr;
  const bool accepted = rewrite != nullptr && rewrite->state == Rewrite::Accepted;
  Frame frame(accepted ? rewrite->program : program, bindings);
  load_inputs(frame);
  std::exception_ptr error;
  try {
    if (rewrite != nullptr && rewrite->state == Rewrite::Unchecked) {
      check(*rewrite, frame);
    } else {
      play(frame, 0, frame.program.ops.size());
    }
  } catch (const ReplayError&) {
    error = std::current_exception();
  }
  store_kept(frame);
  for (const auto freed : bindings.freed) store_.erase(freed);
  if (error) std::rethrow_exception(error);
  if (!program.tail) return nullopt;
  return frame.reply;
}

void Replayer::play(Frame& frame, size_t from, size_t to) {
  Optional<ModesLoan> own;
  if (frame.modes == nullptr) {
    own.emplace(frame.program);
    frame.modes = &*own;
  }
  for (size_t i = from; i < to; ++i) {
    frame.modes->use(frame.program.ops[i].modes);
    step(frame, i);
  }
  if (own) frame.modes = nullptr;
}

Bindings Replayer::decode_bindings(ReplayProgram& program, Decoder& in) {
  Bindings run;
  run.kept = program.kept;
  run.base = in.varint();
  for (uint32_t i = 0; i < program.symbols; ++i) run.symbols.push_back(static_cast<int64_t>(in.fixed()));
  const size_t flips = in.count();
  for (size_t i = 0; i < flips; ++i) {
    const auto slot = in.varint();
    TORCH_CHECK_VALUE(slot < program.slots, "slot out of range");
    run.kept[slot] = !program.kept[slot];
    if (run.kept[slot]) run.extra.emplace_back(slot, run.base + static_cast<uint64_t>(in.varint_signed()));
  }
  const auto codes = in.bytes((program.bound.size() + 3) / 4);
  const bool first = program.last_ids.empty();
  std::vector<uint64_t> ids(program.bound.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const int code = codes[i / 4] >> (i % 4 * 2) & 3;
    TORCH_CHECK_VALUE(code == 2 || (code < 2 && !first), "unknown binding");
    ids[i] = code == 0   ? program.last_ids[i]
             : code == 1 ? program.last_ids[i] - program.last_base + run.base
                         : run.base + static_cast<uint64_t>(in.varint_signed());
  }
  program.last_ids = ids;
  program.last_base = run.base;
  run.ids = std::move(ids);
  run.freed.resize(in.count());
  uint64_t previous = run.base;
  for (auto& id : run.freed) previous = id = previous + static_cast<uint64_t>(in.varint_signed());
  TORCH_CHECK_VALUE(in.done(), "bytes left over after a run");
  return run;
}

void Replayer::load_inputs(Frame& frame) {
  const auto& program = frame.program;
  for (size_t i = 0; i < program.bound.size(); ++i) {
    const auto slot = program.bound[i];
    if (program.made_here[slot]) continue;
    if (const auto* value = store_.find(frame.run.ids[i])) {
      frame.slots[slot] = *value;
    } else {
      frame.slots[slot].failure = std::make_shared<Failure>(Failure{
          "RuntimeError", "value " + std::to_string(frame.run.ids[i]) + " does not exist in this session", "", program.id, -1});
    }
  }
  for (const auto& [slot, value] : program.constants) frame.slots[slot] = value;
}

void Replayer::store_kept(Frame& frame) {
  const auto& program = frame.program;
  for (size_t i = 0; i < program.bound.size(); ++i) {
    const auto slot = program.bound[i];
    if (!program.made_here[slot]) {
      auto* value = store_.find(frame.run.ids[i]);
      if (value == nullptr) continue;
      const bool packed = value->slack && !frame.slots[slot].slack;
      if (packed || frame.slots[slot].failure) *value = frame.slots[slot];
    } else if (frame.kept[slot]) {
      store_.set(frame.run.ids[i], std::move(frame.slots[slot]));
    }
  }
  for (const auto& [slot, id] : frame.run.extra) store_.set(id, std::move(frame.slots[slot]));
}

void Replayer::spoil(Frame& frame, const ReplayOp& op, const FailurePtr& failure) {
  if (frame.program.tail && &op == &frame.program.ops.back()) throw ReplayError(failure);
  for (const auto& output : op.outputs) {
    if (output.kind == ReplayOutput::New) frame.slots[output.slot].failure = failure;
  }
  for (const auto slot : op.written_slots) frame.slots[slot].failure = failure;
  if (op.pseudo == kReturn) frame.lost = failure;
}

void Replayer::step(Frame& frame, size_t index) {
  const auto& op = frame.program.ops[index];
  if (op.once && !frame.program.constants.empty() && frame.program.constants.count(op.outputs[0].slot) != 0) return;
  FailurePtr failure;
  for (const auto slot : op.read_slots) {
    if (frame.slots[slot].failure) failure = frame.slots[slot].failure;
  }
  if (failure) {
    spoil(frame, op, failure);
  } else {
    try {
      if (op.op.has_value()) {
        execute(frame, op, frame.stack);
      } else {
        execute_pseudo(frame, op);
      }
    } catch (const ReplayError& error) {  // of an op in a region
      spoil(frame, op, std::make_shared<Failure>(error.failure()));
    } catch (const std::exception& error) {
      spoil(frame, op, std::make_shared<Failure>(Failure{exception_kind(error), plain_message(error), op.name,
                                                        frame.program.id, op.origin}));
    }
  }
  if (op.once) keep_constant(frame, op.outputs[0].slot);
  frame.stack.clear();
  for (const auto tensor : op.dead_tensors) frame.tensors[tensor].reset();
  for (const auto slot : op.dead_slots) {
    if (!frame.kept[slot]) frame.slots[slot] = {};
  }
}

void Replayer::keep_constant(Frame& frame, uint32_t slot) {
  const auto& value = frame.slots[slot];
  const size_t nbytes = value.storage ? value.storage.nbytes() : 0;
  if (value.failure || constant_bytes_ + nbytes > kMostConstants) return;  // it is made anew each time
  constant_bytes_ += nbytes;
  frame.program.constants[slot] = value;
}

void Replayer::forget(int64_t program) {
  // Those that run a region hold it themselves.
  const auto region = std::find_if(regions_.begin(), regions_.end(), [&](const auto& r) { return r.second->id == program; });
  if (region != regions_.end()) regions_.erase(region);
  const auto found = programs_.find(program);
  if (found == programs_.end()) return;
  drop_constants(*found->second);
  if (found->second->rewrite) drop_constants(found->second->rewrite->program);
  programs_.erase(found);
}

void Replayer::drop_constants(ReplayProgram& program) {
  for (const auto& [slot, value] : program.constants) constant_bytes_ -= value.storage.nbytes();
  program.constants.clear();
}

namespace {

template <typename FrameType>
c10::IValue evaluate(FrameType& frame, const ReplayOp& op, const ReplayArg& arg, c10::Device device) {
  switch (arg.kind) {
    case ReplayArg::Tensor:
      return frame.tensor(arg.index, op.in_rows);
    case ReplayArg::Generator: {
      auto& generator = frame.slots[arg.index].generator;
      TORCH_CHECK_VALUE(generator.defined(), "not a generator");
      return generator;
    }
    case ReplayArg::IntSymbol:
      return frame.run.symbols[arg.index];
    case ReplayArg::DoubleSymbol:
      return as_double(frame.run.symbols[arg.index]);
    case ReplayArg::ScalarTensor:
      return scalar_tensor(arg.dtype, arg.wrapped, evaluate(frame, op, arg.items[0], device).toInt(),
                           evaluate(frame, op, arg.items[1], device).toInt());
    case ReplayArg::Complex:
      return c10::complex<double>(evaluate(frame, op, arg.items[0], device).toDouble(),
                                  evaluate(frame, op, arg.items[1], device).toDouble());
    case ReplayArg::Device:
      return device;
    case ReplayArg::List: {
      if (arg.is_constant) return arg.constant;
      c10::impl::GenericList list(arg.element);
      list.reserve(arg.items.size());
      for (const auto& item : arg.items) list.push_back(evaluate(frame, op, item, device));
      return list;
    }
    default:
      return arg.constant;
  }
}

}  // namespace

void Replayer::execute(Frame& frame, const ReplayOp& op, torch::jit::Stack& stack) {
  for (const auto slot : op.written_slots) frame.packed(slot);
  for (const auto& arg : op.args) {
    if (arg.kind != ReplayArg::ImplicitGenerator) stack.push_back(evaluate(frame, op, arg, store_.device()));
  }
  if (op.implicit_generator >= 0) {
    auto& generator = frame.slots[op.implicit_generator].generator;
    TORCH_CHECK_VALUE(generator.defined(), "not a generator");
    const GeneratorLoan loan(generator);
    op.op->callBoxed(stack);
  } else {
    op.op->callBoxed(stack);
  }
  if (!op.outs.empty()) settle_outs(frame, op);
  if (frame.program.tail && &op == &frame.program.ops.back()) {
    frame.reply = encode_tail(frame, op, stack);
  } else {
    take_outputs(frame, op, stack);
  }
}

// Some kernels turn the conjugate bit of an `out=` instead of its numbers (`linalg_lu_solve`); others
// know the tensor without that bit.
void Replayer::settle_outs(Frame& frame, const ReplayOp& op) {
  for (const auto index : op.outs) {
    const auto& out = frame.tensors[index];
    const bool conj = (frame.program.tensors[index].geometry.flags & kConj) != 0;
    if (!out.defined() || out.is_conj() == conj) continue;
    out._set_conj(!out.is_conj());
    out.conj_physical_();
  }
}

void Replayer::take_outputs(Frame& frame, const ReplayOp& op, torch::jit::Stack& stack) {
  size_t next = 0;
  const auto take = [&](at::Tensor tensor) {
    TORCH_CHECK_VALUE(next < op.outputs.size(), "more outputs than the program declares");
    take_output(frame, op, op.outputs[next++], std::move(tensor));
  };
  for (auto& item : stack) {
    if (item.isTensor()) {
      take(std::move(item).toTensor());
    } else {
      for (auto& tensor : item.toTensorVector()) take(std::move(tensor));
    }
  }
  TORCH_CHECK_VALUE(next == op.outputs.size(), "fewer outputs than the program declares");
}

void Replayer::take_output(Frame& frame, const ReplayOp& op, const ReplayOutput& output, at::Tensor result) {
  if (output.kind != ReplayOutput::New) return;
  result = with_memory(std::move(result));
  const auto expected = frame.geometry(output.tensor);
  TORCH_CHECK(result.defined() && result.scalar_type() == expected.dtype && result.sizes() == expected.size,
              "the op gave ", result.defined() ? result.toString() : "nothing", " of shape ",
              result.defined() ? result.sizes() : at::IntArrayRef(), " where shape inference had promised ",
              expected.dtype, " of shape ", at::IntArrayRef(expected.size));
  auto* impl = result.storage().unsafeGetStorageImpl();
  bool shared = false;
  for (const auto slot : op.read_slots) shared |= frame.slots[slot].storage.unsafeGetStorageImpl() == impl;
  if (shared || !same_layout(result, expected)) {
    if (!shared) ++restrided_[op.name];
    auto storage = store_.allocate(extent_of(expected));
    const auto view = make_view(storage, expected);
    view.copy_(result);
    result = view;
  }
  frame.slots[output.slot] = {result.storage(), {}, nullptr, {}};
  if (result.sizes() == expected.size && result.strides() == expected.stride) frame.tensors[output.tensor] = std::move(result);
}

void Replayer::execute_pseudo(Frame& frame, const ReplayOp& op) {
  const auto number = [&](size_t i) { return evaluate(frame, op, op.args.at(i), store_.device()).toInt(); };
  const auto slot = [&](size_t i) -> StoredValue& { return frame.slots[op.args.at(i).index]; };
  switch (op.pseudo) {
    case kAlloc: {
      const auto nbytes = number(0);
      TORCH_CHECK_VALUE(nbytes >= 0, "negative size");
      auto storage = store_.allocate(static_cast<size_t>(nbytes));
      if (frame.compared) bytes_of(storage).zero_();
      frame.slots[op.outputs.at(0).slot] = {std::move(storage), {}, nullptr, {}};
      return;
    }
    case kResize: {
      const auto nbytes = number(1);
      auto& storage = frame.packed(op.args.at(0).index).storage;
      TORCH_CHECK_VALUE(storage && nbytes >= 0, "cannot resize");
      bytes_of(storage).resize_({nbytes});
      return;
    }
    case kMakeGenerator:
      frame.slots[op.outputs.at(0).slot] = {{}, store_.make_generator(static_cast<uint64_t>(number(0))), nullptr, {}};
      return;
    case kSeed: {
      auto& generator = slot(0).generator;
      TORCH_CHECK_VALUE(generator.defined(), "not a generator");
      generator.set_current_seed(static_cast<uint64_t>(number(1)));
      return;
    }
    case kSetState: {
      auto& generator = slot(0).generator;
      Geometry bytes;
      bytes.dtype = at::kByte;
      bytes.size.push_back(number(1));
      bytes.stride.push_back(1);
      const auto& state = frame.packed(op.args.at(2).index).storage;
      TORCH_CHECK_VALUE(generator.defined() && state, "not a generator");
      generator.set_state(make_view(state, bytes).cpu());
      return;
    }
    case kGetState: {
      TORCH_CHECK_VALUE(slot(0).generator.defined(), "not a generator");
      frame.stack.emplace_back(slot(0).generator.get_state().to(store_.device()));
      frame.reply = encode_tail(frame, op, frame.stack);
      return;
    }
    case kAppend:
      return append(frame, op);
    case kReturn:
      for (const auto& item : op.args.at(0).items) frame.results.push_back(evaluate(frame, op, item, store_.device()).toTensor());
      return;
    case kCond:
      return branch(frame, op);
    case kWhileLoop:
      return loop(frame, op);
    case kRepeat:
      return repeat(frame, op);
    default:
      TORCH_CHECK_VALUE(false, "unknown step ", op.pseudo);
  }
}

}  // namespace genie
