// Control flow: what a branch or a loop's body does is recorded apart, as a program of its own that the
// executor runs as often as the values there say.
#pragma once

#include "program/program.h"

#include <c10/util/ThreadLocalDebugInfo.h>

#include <unordered_set>

namespace genie {

// A branch or a body that was recorded: what a run of it is given.
struct Region {
  struct Input {
    Value* value = nullptr;  // null for a placeholder
    int64_t placeholder = -1;
  };
  std::vector<Input> inputs;  // as Program::bound
  std::vector<int64_t> symbols;
};

// A call of control flow while its regions are being recorded. It belongs to the thread that began it,
// and to those that run a backward for it; others wait.
struct Control {
  Trace outer;
  uint64_t first_id = 0;  // values with smaller ids are from outside
  std::vector<Region> regions;
  std::unordered_set<Value*> written;  // of the values from outside
  bool stale = false;  // host-known content was read that the region itself changes
  std::shared_ptr<c10::DebugInfoBase> token;
  std::unique_ptr<c10::DebugInfoGuard> guard;
};

// One argument of a call of control flow.
struct ControlArg {
  enum Kind : uint8_t { Number, Text, Whole, Region, List };
  Kind kind = Number;
  int64_t number = 0;  // of a region: which one
  std::string text;    // of a region: its name
  Optional<at::Tensor> tensor;
  std::vector<ControlArg> items;
};

// From here on, what this thread records is a region.
void begin_control(int device);
// A stand-in for what a region is given in each of its runs.
void make_placeholder(const at::Tensor& tensor);
// Has the trace around the region make `tensor`, which the region may then write to.
void hoist(const at::Tensor& tensor);
// Ends a region, which gives `outputs`; another one begins. Nothing where it has to be recorded again:
// a value changes in it that was taken for known.
Optional<Sealed> end_region(int device, const std::vector<at::Tensor>& placeholders, const std::vector<at::Tensor>& outputs);
// Goes back to the trace around the regions, and records the call there: it makes `outputs`.
void record_control(int device, PseudoOp op, const std::vector<ControlArg>& args, const std::vector<at::Tensor>& outputs);
// The same, where the number of iterations decides the shape of the outputs: waits for them.
std::vector<at::Tensor> ask_control(int device, PseudoOp op, const std::vector<ControlArg>& args);
// Goes back without a call.
void abandon_control(int device);
// Does this thread record a region of that device?
bool in_region(int device);

// With the lock held.
bool may_record(const Trace& trace);
void check_open(const Trace& trace);
void check_outer(const Value& value);
void note_writes(Trace& trace, const CallWriter& call);

}  // namespace genie
