#include "rewrite.h"

#include "frame.h"

#include "program/trace.h"

#include <chrono>
#include <cmath>
#include <limits>

namespace genie {
namespace {

constexpr size_t kMostCopied = size_t(1) << 30;  // bytes: what is written to and larger is not compared
constexpr double kInfinity = std::numeric_limits<double>::infinity();

at::Tensor content_of(const at::Tensor& tensor) {
  // A copy: one of a single element is contiguous with any stride, which a view as bytes would not be.
  return tensor.resolve_conj().resolve_neg().reshape({-1}).clone(at::MemoryFormat::Contiguous).view(at::kByte);
}

at::Tensor numbers_of(const at::Tensor& tensor) {
  return (tensor.is_complex() ? at::view_as_real(tensor.resolve_conj()) : tensor).to(at::kDouble);
}

// The largest difference, of the largest number; infinite where anything but numbers differs.
double difference(const at::Tensor& expected, const at::Tensor& found, double tolerance) {
  if (expected.numel() == 0 || at::equal(content_of(expected), content_of(found))) return 0;
  if (tolerance == 0 || !(expected.is_floating_point() || expected.is_complex())) return kInfinity;
  const auto a = numbers_of(expected), b = numbers_of(found);
  const auto same = a.eq(b).logical_or(a.isnan().logical_and(b.isnan()));
  const auto apart = at::where(same, at::zeros({}, a.options()), (a - b).abs());
  const auto finite = at::where(a.isfinite(), a.abs(), at::zeros({}, a.options()));
  const double worst = apart.max().item<double>(), scale = finite.max().item<double>();
  return std::isfinite(worst) ? worst / std::max(scale, std::numeric_limits<double>::min()) : kInfinity;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

bool Rewrite::serves(const ReplayProgram& original, const Bindings& run) const {
  if (state == Refused) return false;
  for (const auto& [symbol, number] : guards) {
    if (run.symbols[symbol] != number) return false;
  }
  for (const auto& [slot, id] : run.extra) {  // a value that usually nobody wants
    if (!program.made_here[slot] && original.made_here[slot]) return false;
  }
  return true;
}

void Replayer::define(std::unique_ptr<ReplayProgram> program, const std::string& name) {
  program->finish(regions_);
  if (program->returns) {
    regions_[name] = std::move(program);
    return;
  }
  auto& place = programs_[program->id];
  if (place && place->rewrite) drop_constants(place->rewrite->program);
  place = std::move(program);
}

void Replayer::define_rewrite(std::unique_ptr<Rewrite> rewrite) {
  const auto found = programs_.find(rewrite->program.id);
  TORCH_CHECK_VALUE(found != programs_.end(), "a rewrite of an unknown program");
  auto& original = *found->second;
  auto& program = rewrite->program;
  TORCH_CHECK_VALUE(program.slots >= original.slots, "a rewrite with fewer slots");
  program.symbols = original.symbols;
  program.tail = original.tail;
  program.bound = original.bound;
  program.kept = original.kept;
  program.kept.resize(program.slots, 0);
  TORCH_CHECK_VALUE(!program.tail || !program.ops.empty(), "a tail without ops");
  program.finish(regions_);
  for (const auto slot : program.bound) {
    const bool as_before = program.made_here[slot] == original.made_here[slot];
    TORCH_CHECK_VALUE(as_before || (original.made_here[slot] && !program.kept[slot]), "a rewrite without a value that it keeps");
  }
  for (const auto& guard : rewrite->guards) TORCH_CHECK_VALUE(guard.first < program.symbols, "symbol out of range");
  for (const auto& op : program.ops) {
    TORCH_CHECK_VALUE(!op.once || (op.outputs.size() == 1 && op.outputs[0].kind == ReplayOutput::New), "a constant is one tensor");
  }
  if (original.rewrite) drop_constants(original.rewrite->program);
  original.rewrite = std::move(rewrite);
}

namespace {

// Slots whose content the two programs must leave alike: what is kept, what was there and is written
// to, and what the last op reads that the client waits for.
std::vector<uint8_t> compared_slots(const ReplayProgram& program, const std::vector<uint8_t>& kept) {
  std::vector<uint8_t> compared(program.slots, 0);
  for (uint32_t slot = 0; slot < program.slots; ++slot) compared[slot] = program.made_here[slot] && kept[slot];
  for (const auto& op : program.ops) {
    for (const auto slot : op.written_slots) compared[slot] |= !program.made_here[slot];
  }
  if (program.tail) {
    for (const auto slot : program.ops.back().read_slots) compared[slot] = 1;
  }
  return compared;
}

// The tensors that stand for new memory as such: what was written there is compared as what it is.
std::vector<uint8_t> bare_memory(const ReplayProgram& program) {
  std::vector<uint8_t> bare(program.tensors.size(), 0);
  for (const auto& op : program.ops) {
    if (op.pseudo == kAlloc) bare[op.outputs.at(0).tensor] = 1;
  }
  return bare;
}

// Values that either program writes to get a copy, so that neither sees what the other did.
// False where that would take too much memory.
template <typename FrameType>
bool part_from(FrameType& frame, const ReplayProgram& other) {
  std::vector<uint8_t> written(frame.slots.size(), 0);
  for (const auto* program : {static_cast<const ReplayProgram*>(&frame.program), &other}) {
    for (const auto& op : program->ops) {
      for (const auto slot : op.written_slots) written[slot] = 1;
      for (const auto slot : op.read_slots) written[slot] |= frame.slots[slot].generator.defined();
    }
  }
  size_t nbytes = 0;
  for (size_t slot = 0; slot < written.size(); ++slot) {
    if (written[slot] && !frame.program.made_here[slot] && frame.slots[slot].storage) nbytes += frame.slots[slot].storage.nbytes();
  }
  if (nbytes > kMostCopied) return false;
  for (size_t slot = 0; slot < written.size(); ++slot) {
    auto& value = frame.slots[slot];
    if (!written[slot] || frame.program.made_here[slot]) continue;
    if (value.generator.defined()) value.generator = value.generator.clone();
    if (!value.storage) continue;
    value.pack();
    value.storage = bytes_of(value.storage).clone().storage();
  }
  return true;
}

}  // namespace

void Replayer::check(Rewrite& rewrite, Frame& frame) {
  const size_t shared = frame.program.ops.size() - (frame.program.tail ? 1 : 0);
  Frame other(rewrite.program, frame.run);
  frame.compared = other.compared = true;
  load_inputs(other);
  if (!part_from(other, frame.program)) {
    rewrite.state = Rewrite::Refused;
    rewrite.reason = "it writes to too much memory to be compared";
    return play(frame, 0, frame.program.ops.size());
  }
  auto start = std::chrono::steady_clock::now();
  play(frame, 0, shared);
  store_.synchronize();
  rewrite.seconds_before = seconds_since(start);
  if (frame.failed()) return play(frame, shared, frame.program.ops.size());  // another run will tell
  start = std::chrono::steady_clock::now();
  play(other, 0, rewrite.program.ops.size() - (frame.program.tail ? 1 : 0));
  store_.synchronize();
  rewrite.seconds_after = seconds_since(start);
  rewrite.state = Rewrite::Accepted;
  try {
    const auto compared = compared_slots(frame.program, frame.kept);
    const auto bare = bare_memory(frame.program);
    for (uint32_t slot = 0; slot < frame.slots.size(); ++slot) {
      if (other.slots[slot].failure) throw ReplayError(other.slots[slot].failure);
    }
    for (uint32_t i = 0; i < frame.tensors.size(); ++i) {
      const auto slot = frame.program.tensors[i].slot;
      if (!compared[slot] || bare[i] || !frame.slots[slot].storage) continue;
      const auto geometry = frame.geometry(i);
      auto expected = frame.slots[slot];
      expected.pack();
      if (extent_of(geometry) > expected.storage.nbytes()) continue;  // it was resized meanwhile
      const auto& found = other.packed(slot).storage;
      TORCH_CHECK_VALUE(found, "it does not make a value that is wanted");
      const auto error = difference(make_view(expected.storage, geometry), make_view(found, geometry), rewrite.tolerance);
      if (!(error <= rewrite.tolerance)) {
        rewrite.reason = c10::str("it differs by more than its tolerance, in a tensor of ", geometry.dtype, " ",
                                  at::IntArrayRef(geometry.size));
      }
      rewrite.error = std::max(rewrite.error, error);
    }
    if (!rewrite.reason.empty()) rewrite.state = Rewrite::Refused;
  } catch (const std::exception& error) {
    rewrite.state = Rewrite::Refused;
    rewrite.reason = error.what();
  }
  if (rewrite.state == Rewrite::Refused) drop_constants(rewrite.program);
  play(frame, shared, frame.program.ops.size());
}

}  // namespace genie
