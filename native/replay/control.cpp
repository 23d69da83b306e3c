#include "control.h"

#include "frame.h"

#include "program/trace.h"

namespace genie {
namespace {

constexpr int kMostDepth = 64;  // of regions in regions: each takes some of the stack

// What is carried is a whole value: a storage, whose tensor the regions and the outputs know.
using Args = std::vector<ReplayArg>;

// Where an op has its regions among its arguments, and the values that its first iteration is given.
std::vector<size_t> places(uint64_t op) { return op == kRepeat ? std::vector<size_t>{3} : std::vector<size_t>{1, 2}; }
const Args& initial(const ReplayOp& op) { return op.args[op.pseudo == kRepeat ? 2 : 0].items; }

void check(const ReplayOp& op, bool holds) { TORCH_CHECK_VALUE(holds, op.name, ": malformed"); }

bool are(const ReplayArg& list, std::initializer_list<ReplayArg::Kind> kinds) {
  const auto allowed = [&](const ReplayArg& item) { return std::find(kinds.begin(), kinds.end(), item.kind) != kinds.end(); };
  return list.kind == ReplayArg::List && std::all_of(list.items.begin(), list.items.end(), allowed);
}

void check_layout(const ReplayOp& op) {
  using Kind = ReplayArg::Kind;
  const auto kind = [&](size_t i) { return op.args[i].kind; };
  const std::initializer_list<Kind> whole{Kind::Generator};
  for (const auto& output : op.outputs) check(op, output.kind == ReplayOutput::New);
  if (op.pseudo == kCond) return check(op, op.args.size() == 4 && kind(0) == Kind::Generator && are(op.args[3], whole));
  check(op, op.args.size() == 5 && are(op.args[4], whole));
  if (op.pseudo == kRepeat) {
    check(op, kind(0) == Kind::String && (kind(1) == Kind::Int || kind(1) == Kind::IntSymbol) && are(op.args[2], whole));
  } else {
    check(op, are(op.args[0], whole) && kind(3) == Kind::Int);
  }
}

std::shared_ptr<ReplayProgram> find_region(const ReplayOp& op, const ReplayArg& arg, const Regions& regions) {
  using Kind = ReplayArg::Kind;
  check(op, arg.kind == Kind::List && arg.items.size() == 3 && arg.items[0].kind == Kind::String &&
                are(arg.items[1], {Kind::Generator, Kind::Int}) && are(arg.items[2], {Kind::Int, Kind::IntSymbol}));
  const auto found = regions.find(arg.items[0].constant.toStringRef());
  TORCH_CHECK_VALUE(found != regions.end(), op.name, ": a region that was not defined in this session");
  check(op, arg.items[1].items.size() == found->second->bound.size() && arg.items[2].items.size() == found->second->symbols);
  return found->second;
}

void note_writes(ReplayOp& op, const ReplayArg& arg, const ReplayProgram& region) {
  const size_t placeholders = op.pseudo == kCond ? 0 : initial(op).size();
  for (size_t i = 0; i < region.bound.size(); ++i) {
    const auto& item = arg.items[1].items[i];
    const bool given = item.kind == ReplayArg::Int;
    if (given) check(op, item.constant.toInt() >= 0 && static_cast<size_t>(item.constant.toInt()) < placeholders);
    if (!region.writes_to(region.bound[i])) continue;
    op.written_slots.push_back(given ? initial(op)[static_cast<size_t>(item.constant.toInt())].index : item.index);
  }
}

// Memory of its own with nothing else in it: what one iteration leaves to the next.
c10::Storage own(at::Tensor result, size_t nbytes) {
  TORCH_CHECK(result.nbytes() == nbytes, "the body gave a tensor of ", result.nbytes(), " bytes where ", nbytes, " are carried");
  const bool alone = result.is_contiguous() && result.storage_offset() == 0 && !result.is_conj() && !result.is_neg() &&
                     result.storage().nbytes() == nbytes && result.storage().use_count() == 1;
  return (alone ? result : result.clone(at::MemoryFormat::Contiguous)).storage();
}

}  // namespace

void find_regions(ReplayProgram& program, ReplayOp& op, const Regions& regions) {
  check_layout(op);
  for (const auto place : places(op.pseudo)) {
    op.regions.push_back(find_region(op, op.args[place], regions));
    note_writes(op, op.args[place], *op.regions.back());
    program.depth = std::max(program.depth, op.regions.back()->depth + 1);
  }
  TORCH_CHECK_VALUE(program.depth <= kMostDepth, op.name, ": control flow is nested more than ", kMostDepth, " deep");
}

std::vector<at::Tensor> Replayer::run_region(Frame& frame, const ReplayOp& op, size_t region, const std::vector<c10::Storage>& given) {
  auto& program = *op.regions.at(region);
  const auto& arg = op.args[places(op.pseudo)[region]];
  Bindings run;
  for (const auto& symbol : arg.items[2].items) {
    run.symbols.push_back(symbol.kind == ReplayArg::Int ? symbol.constant.toInt() : frame.run.symbols[symbol.index]);
  }
  Frame inner(program, run);
  inner.modes = frame.modes;
  inner.compared = frame.compared;
  const auto& inputs = arg.items[1].items;
  for (size_t i = 0; i < inputs.size(); ++i) {
    auto& slot = inner.slots[program.bound[i]];
    if (inputs[i].kind == ReplayArg::Int) {
      slot.storage = given[static_cast<size_t>(inputs[i].constant.toInt())];
    } else {
      slot = frame.packed(inputs[i].index);
    }
  }
  play(inner, 0, program.ops.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& slot = inner.slots[program.bound[i]];
    if (slot.failure) throw ReplayError(slot.failure);  // it was written to, or would have been
  }
  if (inner.lost) throw ReplayError(inner.lost);
  return std::move(inner.results);
}

// Cond: the predicate, two branches.
void Replayer::branch(Frame& frame, const ReplayOp& op) {
  Geometry flag;
  flag.dtype = at::kBool;
  const auto& predicate = frame.packed(op.args[0].index).storage;
  TORCH_CHECK_VALUE(predicate, "the predicate has no value");
  const bool holds = make_view(predicate, flag).item<bool>();
  torch::jit::Stack stack;
  std::vector<const c10::StorageImpl*> seen;
  for (auto& result : run_region(frame, op, holds ? 0 : 1, {})) {
    const auto* storage = result.storage().unsafeGetStorageImpl();
    const bool again = std::find(seen.begin(), seen.end(), storage) != seen.end();
    seen.push_back(storage);
    stack.emplace_back(again ? result.clone() : std::move(result));
  }
  take_outputs(frame, op, stack);
}

namespace {

template <typename FrameType>
std::vector<c10::Storage> storages(FrameType& frame, const Args& values) {
  std::vector<c10::Storage> found;
  for (const auto& value : values) {
    found.push_back(frame.packed(value.index).storage);
    TORCH_CHECK_VALUE(found.back(), "the program uses a value before it is made");
  }
  return found;
}

}  // namespace

void Replayer::run_body(Frame& frame, const ReplayOp& op, size_t body, std::vector<c10::Storage>& carried) {
  auto results = run_region(frame, op, body, carried);
  TORCH_CHECK(results.size() == carried.size(), "the body gave ", results.size(), " tensors where ", carried.size(), " are carried");
  for (size_t i = 0; i < results.size(); ++i) carried[i] = own(std::move(results[i]), carried[i].nbytes());
}

void Replayer::take_carried(Frame& frame, const ReplayOp& op, const std::vector<c10::Storage>& carried) {
  TORCH_CHECK_VALUE(op.outputs.size() == carried.size(), "an output for each tensor that is carried");
  torch::jit::Stack stack;
  for (size_t i = 0; i < carried.size(); ++i) stack.emplace_back(make_view(carried[i], frame.geometry(op.outputs[i].tensor)));
  take_outputs(frame, op, stack);
}

// WhileLoop: what is carried at first, condition, body, and whether each iteration's results are wanted.
void Replayer::loop(Frame& frame, const ReplayOp& op) {
  auto carried = storages(frame, initial(op));
  const bool stacked = op.args[3].constant.toInt() != 0;
  const bool is_tail = frame.program.tail && &op == &frame.program.ops.back();
  TORCH_CHECK_VALUE(!stacked || is_tail, op.name, ": whose results are stacked has to be what the client waits for");
  std::vector<std::vector<at::Tensor>> all(carried.size());
  auto verdict = run_region(frame, op, 0, carried);
  TORCH_CHECK_VALUE(verdict.size() == (stacked ? carried.size() : 0) + 1, "the condition has to give one tensor");
  while (verdict[0].is_nonzero()) {
    run_body(frame, op, 1, carried);
    verdict = run_region(frame, op, 0, carried);
    for (size_t i = 0; stacked && i < all.size(); ++i) all[i].push_back(verdict[i + 1]);
  }
  if (!stacked) return take_carried(frame, op, carried);
  std::vector<at::Tensor> results;
  for (size_t i = 0; i < all.size(); ++i) results.push_back(all[i].empty() ? verdict[i + 1].unsqueeze(0).clone() : at::stack(all[i]));
  frame.stack.emplace_back(std::move(results));
  frame.reply = encode_tail(frame, op, frame.stack);
}

// Repeat: what it is for, how often, what is carried at first, body.
void Replayer::repeat(Frame& frame, const ReplayOp& op) {
  auto carried = storages(frame, initial(op));
  const auto& times = op.args[1];
  const auto count = times.kind == ReplayArg::Int ? times.constant.toInt() : frame.run.symbols[times.index];
  for (int64_t i = 0; i < count; ++i) run_body(frame, op, 0, carried);
  take_carried(frame, op, carried);
}

}  // namespace genie
