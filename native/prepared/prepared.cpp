#include "prepared.h"

#include "core/device.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <atomic>

namespace genie {
namespace {

constexpr size_t kMostBytes = size_t(1) << 48;  // of a storage

Value* value_of(const at::Tensor& tensor) { return genie::value_of(*tensor.unsafeGetTensorImpl()); }

int64_t slot_in(const Trace& trace, const Value* value) {
  return value->epoch == trace.epoch ? static_cast<int64_t>(value->slot) : -1;
}

bool lies_so(const at::Tensor& tensor, const Geometry& g) {
  const bool wrapped = tensor.unsafeGetTensorImpl()->is_wrapped_number();
  const int flags = (tensor.is_conj() ? kConj : 0) | (tensor.is_neg() ? kNeg : 0) | (wrapped ? kWrapped : 0);
  return tensor.scalar_type() == g.dtype && tensor.sizes() == at::IntArrayRef(g.size) &&
         tensor.strides() == at::IntArrayRef(g.stride) && tensor.storage_offset() == g.offset && flags == g.flags;
}

at::Tensor lay(const c10::Storage& storage, const Geometry& g) {
  return make_view_unchecked(storage, c10::DispatchKey::PrivateUse1, g.dtype, g.flags, g.offset, g.size, g.stride);
}

}  // namespace

// ---- one thread's trace ---------------------------------------------------------------------

Reservation::Reservation(int device)
    : device_(device), epoch_(state(device).trace.epoch), host_reads_(state(device).counters.host_reads) {
  state(device).trace.owner = at::RecordFunction::currentThreadId();
}

std::unique_ptr<Reservation> Reservation::of(int device) {
  const TraceLock lock(device);
  if (!state(device).trace.ops.empty()) return nullptr;
  return std::unique_ptr<Reservation>(new Reservation(device));
}

void Reservation::release() {
  const CoreLock lock;
  if (held_) state(device_).trace.owner = 0;
  held_ = false;
}

bool Reservation::is_whole() const {
  const auto& current = state(device_);
  return current.trace.epoch == epoch_ && current.counters.host_reads == host_reads_ && !current.trace.ops.empty();
}

bool materialize_all(const Tensors& tensors, int device) {
  std::vector<Value*> missing;
  const auto look_at = [&](Value* value) {
    if (!value->materialized) missing.push_back(value);
  };
  for (const auto& tensor : tensors) look_at(value_of(tensor));
  look_at(default_generator_value(device));
  for (auto* value : missing) materialize(value);
  return !missing.empty();
}

// ---- the program of a trace, with its ends free ---------------------------------------------

std::unique_ptr<Prepared> Prepared::of_trace(const Reservation& reserved, const Tensors& inputs, const Tensors& outputs,
                                             std::vector<size_t> written) {
  const CoreLock lock;
  const auto& trace = state(reserved.device()).trace;
  if (!reserved.is_whole()) return nullptr;
  std::unique_ptr<Prepared> made(new Prepared(reserved.device()));
  made->form_.written = std::move(written);
  made->describe_inputs(inputs, trace);
  for (const auto& output : outputs) {
    if (!made->describe_output(output, inputs, trace)) return nullptr;
  }
  return made->knows_all(trace) ? std::move(made) : nullptr;
}

Prepared::Prepared(int device, std::shared_ptr<Program> program, Form form)
    : device_(device), program_(std::move(program)), form_(std::move(form)) {
  static std::atomic<uint32_t> last{1U << 31};  // those of traces count from 1
  check_form();
  program_->id = ++last;
}

void Prepared::check_form() const {
  const auto& made_here = program_->made_here;
  const auto check = [](bool holds) { TORCH_CHECK_VALUE(holds, "a number is out of range"); };
  const auto check_slot = [&](int64_t slot, bool made) {
    check(slot >= 0 && static_cast<size_t>(slot) < made_here.size() && (made_here[slot] != 0) == made);
  };
  check(program_->kept.size() == made_here.size());
  for (const auto slot : program_->bound) check(slot < made_here.size());
  for (size_t i = 0; i < form_.inputs.size(); ++i) {
    const auto& input = form_.inputs[i];
    check(input.first <= i && extent_of(input.geometry) <= kMostBytes);
    if (input.slot != -1) check_slot(input.slot, false);
  }
  for (const auto& made : form_.made) {
    check_slot(made.slot, true);
    check(made.nbytes <= kMostBytes);
  }
  for (const auto& output : form_.outputs) {
    const bool on_made = output.kind == Form::Output::OnMade;
    check(output.kind <= Form::Output::OnMade && output.index < (on_made ? form_.made.size() : form_.inputs.size()));
    const auto room = on_made ? form_.made[output.index].nbytes : kMostBytes;
    check(extent_of(output.geometry) <= room);
  }
  for (const auto input : form_.written) check(input < form_.inputs.size());
  check(form_.symbols.size() == program_->symbols);
}

Prepared::~Prepared() {
  if (!program_) return;
  const CoreLock lock;
  state(device_).programs.give_back(std::move(program_));
}

void Prepared::describe_inputs(const Tensors& inputs, const Trace& trace) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto* value = value_of(inputs[i]);
    size_t first = 0;
    while (value_of(inputs[first]) != value) ++first;
    form_.inputs.push_back({first, slot_in(trace, value), geometry_of(inputs[i])});
  }
}

bool Prepared::describe_output(const at::Tensor& tensor, const Tensors& inputs, const Trace& trace) {
  const auto* value = value_of(tensor);
  const auto same = [&](const at::Tensor& input) { return input.is_same(tensor); };
  const auto shares = [&](const at::Tensor& input) { return value_of(input) == value; };
  auto input = std::find_if(inputs.begin(), inputs.end(), same);
  const auto kind = input == inputs.end() ? Form::Output::OnInput : Form::Output::Itself;
  if (input == inputs.end()) input = std::find_if(inputs.begin(), inputs.end(), shares);
  if (input != inputs.end()) {
    form_.outputs.push_back({kind, static_cast<size_t>(input - inputs.begin()), geometry_of(tensor)});
    return true;
  }
  const auto slot = slot_in(trace, value);
  if (slot < 0 || !trace.made_here[slot]) return false;
  const auto known = std::find_if(form_.made.begin(), form_.made.end(), [&](const Form::Made& made) { return made.slot == slot; });
  form_.outputs.push_back({Form::Output::OnMade, static_cast<size_t>(known - form_.made.begin()), geometry_of(tensor)});
  if (known == form_.made.end()) form_.made.push_back({static_cast<uint32_t>(slot), tensor.storage().nbytes()});
  return true;
}

// What the trace did not make has to be an input, or the device's generator.
bool Prepared::knows_all(const Trace& trace) const {
  std::vector<uint8_t> known = trace.made_here;
  for (const auto& input : form_.inputs) {
    if (input.slot < 0) continue;
    if (trace.made_here[input.slot]) return false;  // an input's memory, which another run would not make
    known[input.slot] = 1;
  }
  const auto generator = slot_in(trace, default_generator_value(device_));
  if (generator >= 0) known[generator] = 1;
  return std::all_of(known.begin(), known.end(), [](uint8_t one) { return one != 0; });
}

void Prepared::take(const Sealed& sealed) {
  const CoreLock lock;
  program_ = state(device_).programs.share(*sealed.program);
  form_.symbols = sealed.symbols;
}

// ---- its runs -------------------------------------------------------------------------------

bool Prepared::fits(const Tensors& inputs) const {
  if (inputs.size() != form_.inputs.size()) return false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& known = form_.inputs[i];
    if (!lies_so(inputs[i], known.geometry)) return false;
    if (known.first != i && value_of(inputs[i]) != value_of(inputs[known.first])) return false;
  }
  return true;
}

// The values of a run in the places of the first one's; what is dropped within it is nobody's.
Trace Prepared::bind(const Tensors& inputs, const std::vector<c10::Storage>& storages, Value& nobody) const {
  Trace trace;
  trace.made_here = program_->made_here;
  trace.by_slot.assign(trace.made_here.size(), &nobody);
  auto* generator = default_generator_value(device_);
  for (size_t slot = 0; slot < trace.by_slot.size(); ++slot) {
    if (!trace.made_here[slot]) trace.by_slot[slot] = generator;  // unless it is an input's
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (form_.inputs[i].slot >= 0) trace.by_slot[form_.inputs[i].slot] = value_of(inputs[i]);
  }
  for (size_t i = 0; i < form_.made.size(); ++i) {
    auto* value = genie::value_of(storages[i]);
    value->materialized = true;
    trace.by_slot[form_.made[i].slot] = value;
  }
  return trace;
}

Sealed Prepared::seal(const Tensors& inputs, const std::vector<c10::Storage>& storages) {
  const CoreLock lock;
  Value nobody;
  nobody.dead = true;
  const auto trace = bind(inputs, storages, nobody);
  for (const auto input : form_.written) value_of(inputs[input])->shadow = {};
  Sealed sealed;
  sealed.program = program_.get();
  sealed.ops = program_->signatures.size();
  sealed.payload = encode_run(*program_, trace, form_.symbols, {}, reserve_ids(device_, 1));
  ++state(device_).counters.program_hits;
  return sealed;
}

std::pair<Sealed, Tensors> Prepared::run(const Tensors& inputs) {
  check_fork();
  std::vector<c10::Storage> storages;
  for (const auto& made : form_.made) storages.push_back(make_storage(made.nbytes, device_));
  auto sealed = seal(inputs, storages);
  for (const auto input : form_.written) {
    if (!inputs[input].is_inference()) inputs[input].unsafeGetTensorImpl()->bump_version();
  }
  Tensors outputs;
  for (const auto& [kind, index, geometry] : form_.outputs) {
    if (kind == Form::Output::Itself) {
      outputs.push_back(inputs[index]);
    } else {
      outputs.push_back(lay(kind == Form::Output::OnInput ? inputs[index].storage() : storages[index], geometry));
    }
  }
  return {std::move(sealed), std::move(outputs)};
}

}  // namespace genie
