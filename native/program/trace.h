// What was recorded since the last flush.
#pragma once

#include "core/signature.h"

#include <array>
#include <memory>
#include <vector>

namespace genie {

// Where the hash of a region starts: it is no program that could be run by itself.
constexpr uint64_t kRegionHash = 0x5eed;

struct Program;
struct Control;

// Steps that are no aten ops; they stand in `structure[0]` where an op's address would.
enum PseudoOp : uint64_t {
  kAlloc = 1, kResize, kMakeGenerator, kSeed, kSetState, kGetState, kAppend, kReturn, kCond, kWhileLoop, kRepeat
};
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
  uint32_t epoch = next_epoch();
  uint32_t early_flushes = 0;  // since the executor was last waited for
  const Program* follows = nullptr;  // a program that begins like this trace
  bool prefix_known = true;          // is there one
  bool tail = false;  // the last op's outputs come back with the reply
  std::shared_ptr<Control> control;  // this is what a branch or a body does: see regions/control.h
  uint64_t owner = 0;  // the thread that alone may record, and ends the trace itself; 0: any

  static uint32_t next_epoch();  // no two traces have the same

  uint32_t slot_of(Value* value, bool made);
  void append(Signature* signature, const CallWriter& call, const Mark& mark = {});
  uint32_t add_output(Value* value);
  void clear();
  // True where a trace ends well: where the hash of the last ops is a maximum of its surroundings. That
  // is decided by content alone, so the flushes of a loop fall at the same places in each of its rounds.
  bool should_flush() const;

 private:
  bool ends_early(size_t enough) const;
};

}  // namespace genie
