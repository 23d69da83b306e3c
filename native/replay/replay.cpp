#include "replay.h"

#include "core/trace.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <shared_mutex>

namespace genie {

struct Replayer::Frame {
  ReplayProgram& program;
  uint64_t base = 0;
  std::vector<int64_t> symbols;
  std::vector<uint64_t> ids;        // per bound slot
  std::vector<uint8_t> kept;        // per slot
  std::vector<std::pair<uint32_t, uint64_t>> extra;  // slots kept this time only, with their ids
  std::vector<StoredValue> slots;
  std::vector<at::Tensor> tensors;
  torch::jit::Stack stack;
  std::string reply;

  explicit Frame(ReplayProgram& p)
      : program(p), kept(p.kept), slots(p.slots), tensors(p.tensors.size()) {}

  Geometry geometry(uint32_t index) const {
    const auto& ref = program.tensors[index];
    auto g = ref.geometry;
    for (const auto& [position, symbol] : ref.symbols) {
      const size_t rank = g.size.size();
      (position == 0 ? g.offset : position <= rank ? g.size[position - 1] : g.stride[position - 1 - rank]) = symbols[symbol];
    }
    return g;
  }

  const at::Tensor& tensor(uint32_t index) {
    auto& cached = tensors[index];
    if (!cached.defined()) {
      const auto& storage = slots[program.tensors[index].slot].storage;
      TORCH_CHECK_VALUE(storage, "the program uses a value before it is made");
      cached = make_view(storage, geometry(index));
    }
    return cached;
  }
};

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

// Random ops without a generator argument draw from the process's default generator: lend it the
// session's state meanwhile.
class GeneratorLoan {
 public:
  explicit GeneratorLoan(at::Generator& generator)
      : lock_(mutex()), generator_(generator), shared_(at::globalContext().defaultGenerator(generator.device())) {
    saved_ = state(shared_);
    set(shared_, state(generator_));
  }
  ~GeneratorLoan() {
    set(generator_, state(shared_));
    set(shared_, saved_);
  }

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  static at::Tensor state(at::Generator& generator) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    return generator.get_state();
  }
  static void set(at::Generator& generator, const at::Tensor& state) {
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(state);
  }
  std::lock_guard<std::mutex> lock_;
  at::Generator& generator_;
  at::Generator shared_;
  at::Tensor saved_;
};

// The process's modes are those of the program's ops while it runs. Runs that need no change go side
// by side; one that does runs alone.
class ModesLoan {
 public:
  explicit ModesLoan(const ReplayProgram& program) {
    mutex().lock_shared();
    saved_ = current_modes();
    const auto foreign = [&](const ReplayOp& op) { return op.op.has_value() && op.modes != saved_; };
    alone_ = std::any_of(program.ops.begin(), program.ops.end(), foreign);
    if (!alone_) return;
    mutex().unlock_shared();
    mutex().lock();
    saved_ = current_modes();
  }
  ~ModesLoan() {
    if (alone_) {
      set_modes(saved_);
      mutex().unlock();
    } else {
      mutex().unlock_shared();
    }
  }
  ModesLoan(const ModesLoan&) = delete;
  ModesLoan& operator=(const ModesLoan&) = delete;
  void use(uint64_t modes) const {
    if (alone_ && modes != current_modes()) set_modes(modes);
  }

 private:
  static std::shared_mutex& mutex() {
    static std::shared_mutex instance;
    return instance;
  }
  uint64_t saved_ = kDefaultModes;
  bool alone_ = false;
};

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

// PyTorch's stand-in for zeros has no memory that a session could hold.
at::Tensor with_memory(at::Tensor tensor) {
  if (tensor.defined() && tensor._is_zerotensor()) return at::zeros(tensor.sizes(), tensor.options());
  return tensor;
}

}  // namespace

Optional<std::string> Replayer::run(std::string_view payload) {
  Decoder in(payload);
  const auto id = static_cast<int64_t>(in.varint());
  const auto found = programs_.find(id);
  TORCH_CHECK_VALUE(found != programs_.end(), "program ", id, " was not defined in this session");
  auto& program = *found->second;
  Frame frame(program);
  decode_bindings(program, in, frame);
  std::vector<uint64_t> freed(in.count());
  uint64_t previous = frame.base;
  for (auto& free_id : freed) previous = free_id = previous + static_cast<uint64_t>(in.varint_signed());
  TORCH_CHECK_VALUE(in.done(), "bytes left over after a run");

  const at::AutoDispatchBelowADInplaceOrView below;
  const at::NoGradGuard no_grad;
  const c10::OptionalDeviceGuard device_guard(store_.device().is_cpu() ? Optional<c10::Device>() : store_.device());
  load_inputs(frame);
  std::exception_ptr error;
  try {
    const ModesLoan modes(program);
    for (size_t i = 0; i < program.ops.size(); ++i) {
      modes.use(program.ops[i].modes);
      step(frame, i);
    }
  } catch (const ReplayError&) {
    error = std::current_exception();
  }
  store_kept(frame);
  for (const auto free_id : freed) store_.erase(free_id);
  if (error) std::rethrow_exception(error);
  if (!program.tail) return nullopt;
  return frame.reply;
}

void Replayer::decode_bindings(ReplayProgram& program, Decoder& in, Frame& frame) {
  frame.base = in.varint();
  for (uint32_t i = 0; i < program.symbols; ++i) frame.symbols.push_back(static_cast<int64_t>(in.fixed()));
  const size_t flips = in.count();
  for (size_t i = 0; i < flips; ++i) {
    const auto slot = in.varint();
    TORCH_CHECK_VALUE(slot < program.slots, "slot out of range");
    frame.kept[slot] = !program.kept[slot];
    if (frame.kept[slot]) frame.extra.emplace_back(slot, frame.base + static_cast<uint64_t>(in.varint_signed()));
  }
  const auto codes = in.bytes((program.bound.size() + 3) / 4);
  const bool first = program.last_ids.empty();
  std::vector<uint64_t> ids(program.bound.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const int code = codes[i / 4] >> (i % 4 * 2) & 3;
    TORCH_CHECK_VALUE(code == 2 || (code < 2 && !first), "unknown binding");
    ids[i] = code == 0   ? program.last_ids[i]
             : code == 1 ? program.last_ids[i] - program.last_base + frame.base
                         : frame.base + static_cast<uint64_t>(in.varint_signed());
  }
  program.last_ids = ids;
  program.last_base = frame.base;
  frame.ids = std::move(ids);
}

void Replayer::load_inputs(Frame& frame) {
  const auto& program = frame.program;
  for (size_t i = 0; i < program.bound.size(); ++i) {
    const auto slot = program.bound[i];
    if (program.made_here[slot]) continue;
    if (const auto* value = store_.find(frame.ids[i])) {
      frame.slots[slot] = *value;
    } else {
      frame.slots[slot].failure = std::make_shared<Failure>(
          Failure{"RuntimeError", "value " + std::to_string(frame.ids[i]) + " does not exist in this session", "", program.id, -1});
    }
  }
}

void Replayer::store_kept(Frame& frame) {
  const auto& program = frame.program;
  for (size_t i = 0; i < program.bound.size(); ++i) {
    const auto slot = program.bound[i];
    if (!program.made_here[slot]) {
      if (frame.slots[slot].failure) {
        if (auto* value = store_.find(frame.ids[i])) value->failure = frame.slots[slot].failure;
      }
    } else if (frame.kept[slot]) {
      store_.set(frame.ids[i], std::move(frame.slots[slot]));
    }
  }
  for (const auto& [slot, id] : frame.extra) store_.set(id, std::move(frame.slots[slot]));
}

void Replayer::spoil(Frame& frame, const ReplayOp& op, const FailurePtr& failure) {
  if (frame.program.tail && &op == &frame.program.ops.back()) throw ReplayError(failure);
  for (const auto& output : op.outputs) {
    if (output.kind == ReplayOutput::New) frame.slots[output.slot].failure = failure;
  }
  for (const auto slot : op.written_slots) frame.slots[slot].failure = failure;
}

void Replayer::step(Frame& frame, size_t index) {
  const auto& op = frame.program.ops[index];
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
    } catch (const std::exception& error) {
      spoil(frame, op, std::make_shared<Failure>(Failure{exception_kind(error), plain_message(error), op.name,
                                                        frame.program.id, static_cast<int64_t>(index)}));
    }
  }
  frame.stack.clear();
  for (const auto tensor : op.dead_tensors) frame.tensors[tensor].reset();
  for (const auto slot : op.dead_slots) {
    if (!frame.kept[slot]) frame.slots[slot] = {};
  }
}

namespace {

template <typename FrameType>
c10::IValue evaluate(FrameType& frame, const ReplayArg& arg, c10::Device device) {
  switch (arg.kind) {
    case ReplayArg::Tensor:
      return frame.tensor(arg.index);
    case ReplayArg::Generator: {
      auto& generator = frame.slots[arg.index].generator;
      TORCH_CHECK_VALUE(generator.defined(), "not a generator");
      return generator;
    }
    case ReplayArg::IntSymbol:
      return frame.symbols[arg.index];
    case ReplayArg::DoubleSymbol:
      return as_double(frame.symbols[arg.index]);
    case ReplayArg::ScalarTensor:
      return scalar_tensor(arg.dtype, arg.wrapped, evaluate(frame, arg.items[0], device).toInt(),
                           evaluate(frame, arg.items[1], device).toInt());
    case ReplayArg::Complex:
      return c10::complex<double>(evaluate(frame, arg.items[0], device).toDouble(),
                                  evaluate(frame, arg.items[1], device).toDouble());
    case ReplayArg::Device:
      return device;
    case ReplayArg::List: {
      if (arg.is_constant) return arg.constant;
      c10::impl::GenericList list(arg.element);
      list.reserve(arg.items.size());
      for (const auto& item : arg.items) list.push_back(evaluate(frame, item, device));
      return list;
    }
    default:
      return arg.constant;
  }
}

}  // namespace

void Replayer::execute(Frame& frame, const ReplayOp& op, torch::jit::Stack& stack) {
  for (const auto& arg : op.args) {
    if (arg.kind != ReplayArg::ImplicitGenerator) stack.push_back(evaluate(frame, arg, store_.device()));
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
  frame.slots[output.slot] = {result.storage(), {}, nullptr};
  if (result.sizes() == expected.size && result.strides() == expected.stride) frame.tensors[output.tensor] = std::move(result);
}

void Replayer::execute_pseudo(Frame& frame, const ReplayOp& op) {
  const auto number = [&](size_t i) { return evaluate(frame, op.args.at(i), store_.device()).toInt(); };
  const auto slot = [&](size_t i) -> StoredValue& { return frame.slots[op.args.at(i).index]; };
  switch (op.pseudo) {
    case kAlloc: {
      const auto nbytes = number(0);
      TORCH_CHECK_VALUE(nbytes >= 0, "negative size");
      frame.slots[op.outputs.at(0).slot] = {store_.allocate(static_cast<size_t>(nbytes)), {}, nullptr};
      return;
    }
    case kResize: {
      const auto nbytes = number(1);
      auto& storage = slot(0).storage;
      TORCH_CHECK_VALUE(storage && nbytes >= 0, "cannot resize");
      Geometry bytes;
      bytes.dtype = at::kByte;
      bytes.size.push_back(static_cast<int64_t>(storage.nbytes()));
      bytes.stride.push_back(1);
      make_view(storage, bytes).resize_({nbytes});
      return;
    }
    case kMakeGenerator:
      frame.slots[op.outputs.at(0).slot] = {{}, store_.make_generator(static_cast<uint64_t>(number(0))), nullptr};
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
      TORCH_CHECK_VALUE(generator.defined() && slot(2).storage, "not a generator");
      generator.set_state(make_view(slot(2).storage, bytes).cpu());
      return;
    }
    case kGetState: {
      TORCH_CHECK_VALUE(slot(0).generator.defined(), "not a generator");
      frame.stack.emplace_back(slot(0).generator.get_state().to(store_.device()));
      frame.reply = encode_tail(frame, op, frame.stack);
      return;
    }
    default:
      TORCH_CHECK_VALUE(false, "unknown step ", op.pseudo);
  }
}

namespace {

void encode_geometry(Encoder& out, const at::Tensor& tensor) {
  out.varint(static_cast<uint64_t>(tensor.scalar_type()));
  out.varint((tensor.is_conj() ? kConj : 0) | (tensor.is_neg() ? kNeg : 0));
  out.varint(static_cast<uint64_t>(tensor.dim()));
  for (const auto size : tensor.sizes()) out.varint_signed(size);
  for (const auto stride : tensor.strides()) out.varint_signed(stride);
  out.varint_signed(tensor.storage_offset());
  out.varint(tensor.storage().nbytes());
}

}  // namespace

// Operand numbers count the tensors of the call in flat order, as the recorder does.
std::string Replayer::encode_tail(Frame& frame, const ReplayOp& op, const torch::jit::Stack& stack) {
  Encoder out;
  uint64_t next_id = frame.base;
  std::vector<uint32_t> operands;
  const std::function<void(const ReplayArg&)> collect = [&](const ReplayArg& arg) {
    if (arg.kind == ReplayArg::Tensor || arg.kind == ReplayArg::Generator) {
      operands.push_back(arg.kind == ReplayArg::Tensor ? arg.index : ~0U);
    }
    for (const auto& item : arg.items) collect(item);
  };
  for (const auto& arg : op.args) collect(arg);
  const std::function<void(const c10::IValue&)> encode = [&](const c10::IValue& item) {
    if (item.isTensor()) {
      auto tensor = with_memory(item.toTensor());
      if (!tensor.defined()) return out.varint(1);
      TORCH_CHECK(tensor.layout() == c10::kStrided, "the op gave a ", tensor.layout(), " tensor, which a session cannot hold");
      for (size_t i = 0; i < operands.size(); ++i) {
        if (operands[i] == ~0U || !frame.tensors[operands[i]].is_same(tensor)) continue;
        out.varint(6);
        out.varint(i);
        return encode_geometry(out, tensor);
      }
      for (const auto slot : op.read_slots) {  // a value of its own, even where the op gave a view
        if (frame.slots[slot].storage && frame.slots[slot].storage.is_alias_of(tensor.storage())) tensor = tensor.clone();
      }
      TORCH_CHECK(tensor.layout() == c10::kStrided, "the op gave a ", tensor.layout(), " tensor, which a session cannot hold");
      if (tensor._is_zerotensor()) tensor = at::zeros_like(tensor);  // it has no memory
      out.varint(0);
      encode_geometry(out, tensor);
      return store_.set(next_id++, {tensor.storage(), {}, nullptr});
    }
    if (item.isInt()) return out.varint(2), out.varint_signed(item.toInt());
    if (item.isDouble()) {
      const double number = item.toDouble();
      uint64_t bits = 0;
      std::memcpy(&bits, &number, sizeof bits);
      return out.varint(3), out.fixed(bits);
    }
    if (item.isBool()) return out.varint(4), out.varint(item.toBool());
    TORCH_CHECK(item.isTensorList(), op.name, " gave a ", item.tagKind(), ", which a session cannot return");
    const auto list = item.toTensorVector();
    out.varint(5);
    out.varint(list.size());
    for (const auto& tensor : list) encode(tensor);
  };
  out.varint(next_id);
  out.varint(stack.size());
  for (const auto& item : stack) encode(item);
  std::vector<size_t> resized;  // not every op returns what it writes to
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i] == ~0U || !frame.tensors[operands[i]].defined()) continue;
    const auto& tensor = frame.tensors[operands[i]];
    if (tensor.sizes() != at::IntArrayRef(frame.geometry(operands[i]).size)) resized.push_back(i);
  }
  out.varint(resized.size());
  for (const auto i : resized) {
    out.varint(i);
    encode_geometry(out, frame.tensors[operands[i]]);
  }
  return out.take();
}

}  // namespace genie
