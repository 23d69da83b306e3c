// What was recorded since the last flush, and the programs that such traces turned out to be.
#pragma once

#include "signature.h"

#include <array>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace genie {

// Steps that are no aten ops; they stand in `structure[0]` where an op's address would.
enum PseudoOp : uint64_t { kAlloc = 1, kResize, kMakeGenerator, kSeed, kSetState, kGetState };
const char* pseudo_name(uint64_t id);

// Where an op stands in the user's computation.
struct Mark {
  int64_t node = 0;       // number of the autograd node that was made last; negative: not for this op
  int64_t evaluates = 0;  // number of the node that autograd was evaluating; -1: one without; 0: no backward
  uint32_t thread = 0, evaluated_thread = 0;  // nodes are counted per thread
  uint32_t context = 0;   // what plugins said of the thread's work: see exchange_context
};

struct TraceOp {
  Signature* signature;
  uint32_t slot;   // its operands' slots, then its new outputs', start here in Trace::slots
  uint32_t value;  // its values start here in Trace::values
  Mark mark;
};

struct Trace {
  std::vector<TraceOp> ops;
  std::vector<uint32_t> slots;
  std::vector<int64_t> values;
  std::vector<Value*> by_slot;
  std::vector<uint8_t> made_here;  // per slot: 1 when an op of this trace makes the value
  std::vector<uint32_t> origins;   // where in the user's code, for ops beyond every known program
  uint64_t hash = 0;
  uint64_t window = 0;  // rolling hash of the last eight ops alone, for content-defined flushes
  std::array<uint32_t, 64> recent{};  // what it was after each of the last ops, across flushes
  uint64_t appended = 0;
  uint32_t epoch = 1;
  uint32_t early_flushes = 0;  // since the executor was last waited for
  bool prefix_known = true;
  bool tail = false;  // the last op's outputs come back with the reply

  uint32_t slot_of(Value* value, bool made);
  void append(Signature* signature, const CallWriter& call, const Mark& mark = {});
  uint32_t add_output(Value* value);
  void clear();
  // True where a trace ends well: where the hash of the last ops is a maximum of its surroundings. That
  // is decided by content alone, so the flushes of a loop fall at the same places in each of its rounds.
  bool should_flush() const;
};

// A program that the executor has, or will have before it is run.
struct Program {
  uint32_t id = 0;
  uint64_t hash = 0;
  std::vector<Signature*> signatures;
  std::vector<uint32_t> op_slot, op_literal, op_value;  // starts, per op, with an end sentinel
  std::vector<uint32_t> slots;
  std::vector<uint8_t> made_here, kept;  // per slot
  std::vector<uint32_t> bound;           // slots named in a run: the inputs, then those kept
  std::vector<int64_t> literals;         // of the latest sight: per op, the signature's, then the values
  std::vector<int32_t> symbol;           // per literal: the symbol it was lifted to, or -1
  std::vector<uint8_t> op_lifted;        // per op: has it lifted literals
  uint32_t symbols = 0;
  std::vector<uint32_t> origins;
  std::vector<Mark> marks;  // of the first sight
  bool tail = false;
  // Ids bound by the last run: the next run names only what differs.
  std::vector<uint64_t> last_ids;
  uint64_t last_base = 0;

  ~Program();
};

// An op of a program that was run.
struct OpRef {
  int64_t program = -1;
  int64_t index = -1;
};

// One flush, ready to be sent.
struct Sealed {
  Program* program = nullptr;  // null: only frees
  bool is_new = false;
  std::string payload;
  std::vector<uint64_t> freed;
  size_t ops = 0;
  bool tail = false;
  std::vector<OpRef> forward;  // of a new program: per op of a backward, the op that made its autograd node
};

class ProgramTable {
 public:
  // The program of this trace: known, generalised from a known one, or new.
  std::pair<Program*, bool> resolve(const Trace& trace, std::vector<int64_t>& symbols);
  bool knows_prefix(uint64_t hash) const { return prefixes_.count(hash) != 0; }
  void forget(uint32_t id);

 private:
  std::unordered_map<uint64_t, std::unique_ptr<Program>> programs_;
  std::unordered_set<uint64_t> prefixes_;
  uint32_t next_id_ = 1;

  std::unique_ptr<Program> build(const Trace& trace);
};

// Writes the run of `program` on the values of `trace`; deletes nothing.
std::string encode_run(Program& program, const Trace& trace, const std::vector<int64_t>& symbols,
                       const std::vector<uint64_t>& freed, uint64_t tail_id);

}  // namespace genie
