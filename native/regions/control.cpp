#include "control.h"

#include "core/device.h"
#include "core/mark.h"
#include "core/steps.h"

#include <algorithm>
#include <cstring>

namespace genie {
namespace {

// Follows the work of a thread to autograd's threads.
c10::DebugInfoKind kind() { return c10::DebugInfoKind::TEST_INFO_2; }

void write_text(CallWriter& writer, const std::string& text) {
  writer.structure.push_back(word(Tag::String, text.size()));
  for (size_t i = 0; i < text.size(); i += sizeof(uint64_t)) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + i, std::min(sizeof bytes, text.size() - i));
    writer.structure.push_back(bytes);
  }
}

void write_number(CallWriter& writer, int64_t number) {
  writer.structure.push_back(word(Tag::Int));
  writer.literals.push_back(number);
}

void write_whole(CallWriter& writer, Value* value, bool written) {
  writer.structure.push_back(word(Tag::Generator));
  writer.operands.push_back({nullptr, value, written});
}

void write_tensor(CallWriter& writer, const at::Tensor& tensor) {
  auto* impl = tensor.unsafeGetTensorImpl();
  TORCH_CHECK(impl->device() == c10::Device(c10::kPrivateUse1, static_cast<c10::DeviceIndex>(writer.device)),
              "a branch or a loop's body returned a tensor of ", impl->device(), ": return tensors of the device that it runs on");
  const auto g = geometry_of(tensor);
  writer.structure.push_back(word(Tag::Tensor, uint64_t(g.dtype) | uint64_t(g.size.size()) << 8 | uint64_t(g.flags) << 16));
  writer.literals.push_back(g.offset);
  writer.literals.append(g.size.data(), g.size.size());
  writer.literals.append(g.stride.data(), g.stride.size());
  writer.operands.push_back({impl, value_of(*impl), false});
}

// [its name, what its inputs are: whole values or the numbers of placeholders, symbols]
void write_region(CallWriter& writer, const Region& region, const Control& control, const std::string& name) {
  writer.structure.push_back(word(Tag::List, 3));
  write_text(writer, name);
  writer.structure.push_back(word(Tag::List, region.inputs.size()));
  for (const auto& input : region.inputs) {
    if (input.value == nullptr) {
      write_number(writer, input.placeholder);
    } else {
      write_whole(writer, input.value, control.written.count(input.value) != 0);
    }
  }
  writer.structure.push_back(word(Tag::List, region.symbols.size()));
  for (const auto symbol : region.symbols) write_number(writer, symbol);
}

void write_arg(CallWriter& writer, const Control& control, const ControlArg& arg) {
  switch (arg.kind) {
    case ControlArg::Number:
      return write_number(writer, arg.number);
    case ControlArg::Text:
      return write_text(writer, arg.text);
    case ControlArg::Whole:
      return write_whole(writer, value_of(*arg.tensor->unsafeGetTensorImpl()), false);
    case ControlArg::Region:
      return write_region(writer, control.regions.at(static_cast<size_t>(arg.number)), control, arg.text);
    case ControlArg::List:
      writer.structure.push_back(word(Tag::List, arg.items.size()));
      for (const auto& item : arg.items) write_arg(writer, control, item);
      return;
  }
}

CallWriter write_call(int device, PseudoOp op, const Control& control, const std::vector<ControlArg>& args) {
  CallWriter writer;
  writer.device = device;
  writer.structure.push_back(op);
  for (const auto& arg : args) write_arg(writer, control, arg);
  std::vector<Value*> written;  // in an order that is the same each time
  for (const auto& operand : writer.operands) {
    const bool listed = std::find(written.begin(), written.end(), operand.value) != written.end();
    if (operand.written && !listed) written.push_back(operand.value);
  }
  writer.structure.push_back(word(Tag::List, written.size()));
  for (auto* value : written) write_whole(writer, value, true);
  return writer;
}

Signature* signature_of(const CallWriter& writer, const std::vector<at::Tensor>& outputs) {
  const auto hash = writer.hash();
  if (auto* found = signatures().find(writer, hash)) return found;
  auto fresh = std::make_unique<Signature>();
  for (const auto& output : outputs) {
    OutputSpec spec;
    spec.geometry = geometry_of(output);
    spec.nbytes = output.storage().nbytes();
    fresh->outputs.push_back(spec);
    fresh->returns.push_back(-1);
  }
  return signatures().insert(writer, hash, std::move(fresh));
}

// What a region made exists in its runs only.
void close_values(const Trace& trace) {
  for (auto* value : trace.by_slot) {
    if (value->id < trace.control->first_id || !value->materialized) continue;
    if (!trace.made_here[value->slot] && !value->inner) continue;  // hoisted, or sent from the host
    value->materialized = false;
    value->inner = true;
  }
}

std::shared_ptr<Control> leave(Trace& trace) {
  auto control = std::move(trace.control);
  trace = std::move(control->outer);
  for (uint32_t slot = 0; slot < trace.by_slot.size(); ++slot) {
    trace.by_slot[slot]->epoch = trace.epoch;
    trace.by_slot[slot]->slot = slot;
  }
  control->guard.reset();
  return control;
}

Trace& region_of(int device) {
  auto& trace = state(device).trace;
  TORCH_CHECK(trace.control && may_record(trace), "no control flow is being recorded");
  return trace;
}

void append_return(int device, const std::vector<at::Tensor>& outputs) {
  Ground ground;
  {
    const TraceLock lock(device);
    auto& trace = region_of(device);
    CallWriter writer;
    writer.device = device;
    writer.structure.push_back(kReturn);
    writer.structure.push_back(word(Tag::List, outputs.size()));
    for (const auto& output : outputs) write_tensor(writer, output);
    const size_t before = trace.ops.size();
    append(trace, signature_of(writer, {}), writer);
    ground = survey(state(device), before);
  }
  note_origin(device, ground);
}

// The programs that the traces around a region follow may be among those that were just forgotten.
void unfollow(Control& control) {
  control.outer.follows = nullptr;
  if (control.outer.control) unfollow(*control.outer.control);
}

Region describe(const Trace& trace, const Program& program, const std::vector<at::Tensor>& placeholders) {
  Region region;
  for (const auto slot : program.bound) {
    Region::Input input{trace.by_slot[slot]};
    for (size_t i = 0; i < placeholders.size(); ++i) {
      if (value_of(*placeholders[i].unsafeGetTensorImpl()) == input.value) input = {nullptr, static_cast<int64_t>(i)};
    }
    region.inputs.push_back(input);
  }
  return region;
}

}  // namespace

void begin_control(int device) {
  check_device(device);
  auto control = std::make_shared<Control>();
  control->token = std::make_shared<c10::DebugInfoBase>();
  const TraceLock lock(device);
  auto& trace = state(device).trace;
  control->first_id = reserve_ids(device, 1);
  control->guard = std::make_unique<c10::DebugInfoGuard>(kind(), control->token);
  control->outer = std::move(trace);
  trace = Trace();
  trace.control = std::move(control);
  trace.clear();
}

void make_placeholder(const at::Tensor& tensor) {
  const CoreLock lock;
  auto* value = value_of(*tensor.unsafeGetTensorImpl());
  value->materialized = value->inner = true;
}

void hoist(const at::Tensor& tensor) {
  auto* value = value_of(*tensor.unsafeGetTensorImpl());
  const TraceLock lock(value->device);
  auto& trace = region_of(value->device);
  if (!value->materialized) make_value(trace.control->outer, value);
}

Optional<Sealed> end_region(int device, const std::vector<at::Tensor>& placeholders, const std::vector<at::Tensor>& outputs) {
  append_return(device, outputs);
  const TraceLock lock(device);
  auto& current = state(device);
  auto& trace = region_of(device);
  auto& control = *trace.control;
  Optional<Sealed> result;
  if (!control.stale) {
    for (uint32_t slot = 0; slot < trace.by_slot.size(); ++slot) {
      if (trace.made_here[slot]) trace.by_slot[slot]->dead = true;  // nothing outlives a run but what is returned
    }
    std::vector<int64_t> symbols;
    Sealed sealed;
    std::tie(sealed.program, sealed.is_new) = current.programs.resolve(trace, symbols);
    ++(sealed.is_new ? current.counters.programs_built : current.counters.program_hits);
    sealed.ops = trace.ops.size();
    sealed.forgotten = current.programs.take_forgotten();
    if (!sealed.forgotten.empty()) unfollow(control);
    for (const auto slot : sealed.program->bound) sealed.values.push_back({trace.by_slot[slot]->id, trace.by_slot[slot]->uploaded});
    auto region = describe(trace, *sealed.program, placeholders);
    region.symbols = std::move(symbols);
    control.regions.push_back(std::move(region));
    result = std::move(sealed);
  }
  control.stale = false;
  close_values(trace);
  trace.clear();
  return result;
}

void record_control(int device, PseudoOp op, const std::vector<ControlArg>& args, const std::vector<at::Tensor>& outputs) {
  Ground ground;
  {
    const TraceLock lock(device);
    auto& trace = region_of(device);
    const auto writer = write_call(device, op, *trace.control, args);
    const auto control = leave(trace);
    const size_t before = trace.ops.size();
    append(trace, signature_of(writer, outputs), writer, mark_of(writer));
    for (const auto& output : outputs) trace.add_output(value_of(*output.unsafeGetTensorImpl()));
    for (const auto& operand : writer.operands) {
      if (operand.written) operand.value->shadow = {};
    }
    ++state(device).counters.ops;
    ground = survey(state(device), before);
  }
  note_origin(device, ground);
}

std::vector<at::Tensor> ask_control(int device, PseudoOp op, const std::vector<ControlArg>& args) {
  TraceLock lock(device);
  auto& trace = region_of(device);
  const auto writer = write_call(device, op, *trace.control, args);
  leave(trace);
  auto* signature = signature_of(writer, {});
  signature->kind = Signature::AskExecutor;
  const auto ground = pose_question(signature, writer);  // at once: its values may be gone at the next flush
  lock.release();
  return await_answer(signature, writer, ground).at(0).toTensorVector();
}

void abandon_control(int device) {
  const TraceLock lock(device);
  auto& trace = state(device).trace;
  if (!trace.control) return;
  close_values(trace);
  leave(trace);
}

bool in_region(int device) {
  const CoreLock lock;
  const auto& trace = state(device).trace;
  return trace.control && may_record(trace);
}

bool may_record(const Trace& trace) {
  return !trace.control || c10::ThreadLocalDebugInfo::get(kind()) == trace.control->token.get();
}

void check_open(const Trace& trace) {
  TORCH_CHECK(!may_record(trace), "no value can be read while a branch or a loop's body is recorded");
}

void check_outer(const Value& value) {
  TORCH_CHECK(!value.inner, "this tensor was made in a branch or a loop's body of torch.cond, while_loop, scan or map, and exists "
              "while that runs only: return it from there");
}

void note_writes(Trace& trace, const CallWriter& call) {
  auto& control = *trace.control;
  for (const auto& operand : call.operands) {
    if (!operand.written || trace.made_here[operand.value->slot]) continue;
    control.written.insert(operand.value);
    if (operand.value->shadow) control.stale = true;
    operand.value->shadow = {};
  }
}

}  // namespace genie
