#include "program.h"

#include "codec.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace genie {

Program::~Program() {
  for (auto* signature : signatures) --signature->pins;
}

std::vector<uint32_t> Program::lend_origins(size_t count) const {
  std::vector<uint32_t> lent(origins.begin(), origins.begin() + static_cast<std::ptrdiff_t>(std::min(count, origins.size())));
  for (auto& origin : lent) origin |= kBorrowed;
  return lent;
}

std::unique_ptr<Program> ProgramTable::build(const Trace& trace) {
  auto program = std::make_unique<Program>();
  program->id = next_id_++;
  program->hash = trace.hash;
  program->slots = trace.slots;
  program->made_here = trace.made_here;
  program->tail = trace.tail;
  const bool follows = trace.prefix_known && trace.follows != nullptr;  // it asked for none of its own
  if (follows && trace.follows->cut_at == trace.ops.size()) program->cut_at = trace.follows->cut_at;
  program->origins = follows ? trace.follows->lend_origins(trace.ops.size()) : trace.origins;
  for (size_t i = 0; i < trace.ops.size(); ++i) {
    const auto& op = trace.ops[i];
    ++op.signature->pins;
    program->signatures.push_back(op.signature);
    program->op_slot.push_back(op.slot);
    program->op_literal.push_back(static_cast<uint32_t>(program->literals.size()));
    program->op_value.push_back(op.value);
    program->marks.push_back(op.mark);
    const auto& own = op.signature->literals;
    program->literals.insert(program->literals.end(), own.begin(), own.end());
    const size_t end = i + 1 < trace.ops.size() ? trace.ops[i + 1].value : trace.values.size();
    program->literals.insert(program->literals.end(), trace.values.begin() + op.value, trace.values.begin() + end);
  }
  program->op_slot.push_back(static_cast<uint32_t>(trace.slots.size()));
  program->op_literal.push_back(static_cast<uint32_t>(program->literals.size()));
  program->op_value.push_back(static_cast<uint32_t>(trace.values.size()));
  program->symbol.assign(program->literals.size(), -1);
  program->op_lifted.assign(program->signatures.size(), 0);
  uint64_t prefix = trace.control ? kRegionHash : 0;
  for (size_t op = 0; op < program->signatures.size(); ++op) {
    const auto* signature = program->signatures[op];
    prefix = mix(prefix, signature->structure_id);
    const size_t end = program->op_slot[op] + signature->operand_count;
    for (size_t i = program->op_slot[op]; i < end; ++i) prefix = mix(prefix, program->slots[i]);
    program->prefixes.push_back(prefix);
  }
  for (uint32_t slot = 0; slot < trace.by_slot.size(); ++slot) {
    const bool kept = trace.made_here[slot] && !trace.by_slot[slot]->dead;
    program->kept.push_back(kept);
    if (!trace.made_here[slot] || kept) program->bound.push_back(slot);
  }
  return program;
}

namespace {

bool same_structure(const Program& program, const Trace& trace) {
  if (program.signatures.size() != trace.ops.size() || program.slots != trace.slots ||
      program.made_here != trace.made_here || program.tail != trace.tail) {
    return false;
  }
  for (size_t i = 0; i < trace.ops.size(); ++i) {
    const auto* signature = trace.ops[i].signature;
    if (signature != program.signatures[i] &&
        (signature->structure_id != program.signatures[i]->structure_id || signature->op != program.signatures[i]->op)) {
      return false;
    }
    if (trace.ops[i].value != program.op_value[i]) return false;
  }
  return trace.values.size() == program.op_value.back();
}

// Visits each literal of `trace` with its position in the program.
template <typename Visit>
void for_each_literal(const Program& program, const Trace& trace, size_t op, Visit&& visit) {
  const auto& own = trace.ops[op].signature->literals;
  uint32_t position = program.op_literal[op];
  for (const auto literal : own) visit(position++, literal);
  for (uint32_t i = program.op_value[op]; i < program.op_value[op + 1]; ++i) visit(position++, trace.values[i]);
}

// Do the trace's literals fit the program's? Then `symbols` holds what its lifted ones are.
bool bind_symbols(const Program& program, const Trace& trace, std::vector<int64_t>& symbols) {
  symbols.assign(program.symbols, 0);
  std::vector<uint8_t> seen(program.symbols, 0);
  bool fits = true;
  for (size_t op = 0; op < trace.ops.size() && fits; ++op) {
    if (!program.op_lifted[op] && trace.ops[op].signature == program.signatures[op] &&
        program.op_value[op] == program.op_value[op + 1]) {
      continue;
    }
    for_each_literal(program, trace, op, [&](uint32_t position, int64_t literal) {
      const auto symbol = program.symbol[position];
      if (symbol < 0) {
        fits = fits && literal == program.literals[position];
      } else if (!seen[symbol]) {
        seen[symbol] = 1;
        symbols[symbol] = literal;
      } else {
        fits = fits && symbols[symbol] == literal;
      }
    });
  }
  return fits;
}

// Lifts the literals of `fresh` that differ from `known`'s. Those that changed alike share a symbol,
// so that a length which shows in a hundred places is one number on the wire.
void lift(const Program& known, Program& fresh) {
  std::map<std::tuple<int32_t, int64_t, int64_t>, int32_t> symbols;
  for (size_t op = 0; op < fresh.signatures.size(); ++op) {
    for (uint32_t i = fresh.op_literal[op]; i < fresh.op_literal[op + 1]; ++i) {
      if (known.symbol[i] < 0 && known.literals[i] == fresh.literals[i]) continue;
      const auto key = std::make_tuple(known.symbol[i], known.literals[i], fresh.literals[i]);
      fresh.symbol[i] = symbols.emplace(key, static_cast<int32_t>(symbols.size())).first->second;
      fresh.op_lifted[op] = 1;
    }
  }
  fresh.symbols = static_cast<uint32_t>(symbols.size());
}

}  // namespace

std::pair<Program*, bool> ProgramTable::resolve(const Trace& trace, std::vector<int64_t>& symbols) {
  const auto found = programs_.find(trace.hash);
  auto* known = found != programs_.end() && same_structure(*found->second, trace) ? found->second.get() : nullptr;
  if (known != nullptr && bind_symbols(*known, trace, symbols)) {
    known->used = ++resolutions_;
    if (!trace.prefix_known) show_prefixes(*known);  // those that another program showed went with it
    return {known, false};
  }
  auto fresh = build(trace);
  if (known != nullptr) {
    lift(*known, *fresh);
    fresh->origins = known->lend_origins(trace.ops.size());
  }
  if (found != programs_.end()) drop(found);
  show_prefixes(*fresh);
  bind_symbols(*fresh, trace, symbols);
  fresh->used = ++resolutions_;
  while (programs_.size() >= limit_) drop_oldest();
  auto& kept = programs_[trace.hash] = std::move(fresh);
  return {kept.get(), true};
}

void ProgramTable::show_prefixes(const Program& program) {
  for (const auto prefix : program.prefixes) prefixes_[prefix] = program.hash;
}

const Program* ProgramTable::with_prefix(uint64_t hash) const {
  const auto whole = prefixes_.find(hash);
  if (whole == prefixes_.end()) return nullptr;
  const auto program = programs_.find(whole->second);
  return program == programs_.end() ? nullptr : program->second.get();
}

void ProgramTable::drop(Programs::iterator program) {
  for (const auto prefix : program->second->prefixes) {
    const auto whole = prefixes_.find(prefix);
    if (whole != prefixes_.end() && whole->second == program->first) prefixes_.erase(whole);
  }
  if (program->second.use_count() == 1) forgotten_.push_back(program->second->id);
  programs_.erase(program);
}

void ProgramTable::drop_oldest() {
  drop(std::min_element(programs_.begin(), programs_.end(),
                        [](const auto& a, const auto& b) { return a.second->used < b.second->used; }));
}

ProgramTable::Programs::iterator ProgramTable::find(uint32_t id) {
  return std::find_if(programs_.begin(), programs_.end(), [&](const auto& p) { return p.second->id == id; });
}

void ProgramTable::cut(uint32_t id, size_t ops) {
  const auto found = find(id);
  if (found != programs_.end()) found->second->cut_at = ops;
}

void ProgramTable::forget(uint32_t id) {
  const auto found = find(id);
  if (found == programs_.end()) return;
  const auto told = forgotten_.size();
  drop(found);
  forgotten_.resize(told);  // nobody else knows of it
}

std::string encode_run(Program& program, const Trace& trace, const std::vector<int64_t>& symbols,
                       const std::vector<uint64_t>& freed, uint64_t tail_id) {
  Encoder out;
  const uint64_t base = tail_id;
  out.varint(program.id);
  out.varint(base);
  for (const auto symbol : symbols) out.fixed(static_cast<uint64_t>(symbol));
  // Slots whose fate differs from the program's default.
  std::vector<uint32_t> flipped;
  for (uint32_t slot = 0; slot < trace.by_slot.size(); ++slot) {
    if (trace.made_here[slot] && program.kept[slot] == uint8_t(trace.by_slot[slot]->dead)) flipped.push_back(slot);
  }
  out.varint(flipped.size());
  for (const auto slot : flipped) {
    out.varint(slot);
    if (!program.kept[slot]) out.varint_signed(static_cast<int64_t>(trace.by_slot[slot]->id - base));
  }
  // Bound ids: as in the last run, as far from the base as in the last run, or spelled out.
  const bool first = program.last_ids.empty();
  if (first) program.last_ids.assign(program.bound.size(), 0);
  std::string codes((program.bound.size() + 3) / 4, '\0');
  std::vector<uint64_t> spelled;
  for (size_t i = 0; i < program.bound.size(); ++i) {
    const uint64_t id = trace.by_slot[program.bound[i]]->id;
    uint8_t code = 2;
    if (!first && id == program.last_ids[i]) {
      code = 0;
    } else if (!first && id - base == program.last_ids[i] - program.last_base) {
      code = 1;
    } else {
      spelled.push_back(id);
    }
    codes[i / 4] = static_cast<char>(codes[i / 4] | code << (i % 4 * 2));
    program.last_ids[i] = id;
  }
  program.last_base = base;
  out.bytes(codes);
  for (const auto id : spelled) out.varint_signed(static_cast<int64_t>(id - base));
  out.varint(freed.size());
  uint64_t previous = base;
  for (const auto id : freed) {
    out.varint_signed(static_cast<int64_t>(id - previous));
    previous = id;
  }
  return out.take();
}

}  // namespace genie
