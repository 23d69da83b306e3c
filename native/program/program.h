// What traces turned out to be: programs, which an executor is sent once and told to run from then on.
#pragma once

#include "trace.h"

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace genie {

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
  std::vector<uint64_t> prefixes;  // per op: the hash of a trace that ends with it
  std::vector<uint32_t> origins;
  std::vector<Mark> marks;  // of the first sight
  bool tail = false;
  uint64_t used = 0;  // when it was last run, in resolutions
  size_t cut_at = 0;  // traces that begin alike end after so many ops; 0: no matter
  bool cut = false;  // it ended because there was enough of it, not because somebody waited
  // Ids bound by the last run: the next run names only what differs.
  std::vector<uint64_t> last_ids;
  uint64_t last_base = 0;

  // Where its first `count` ops came from, for a program that begins alike: marked as borrowed.
  std::vector<uint32_t> lend_origins(size_t count) const;

  ~Program();
};

// The bit of an origin that is another program's, which may have run for other modules.
constexpr uint32_t kBorrowed = 1U << 31;

// An op of a program that was run.
struct OpRef {
  int64_t program = -1;
  int64_t index = -1;
};

// A value that a run binds.
struct Binding {
  uint64_t id = 0;
  bool uploaded = false;  // its bytes came from the host
};

// One flush, ready to be sent.
struct Sealed {
  Program* program = nullptr;  // null: only frees
  bool is_new = false;
  std::string payload;
  std::vector<uint64_t> freed;
  std::vector<int64_t> symbols;  // what its lifted literals are
  size_t ops = 0;
  bool tail = false;
  std::vector<uint32_t> forgotten;  // programs that will not be run again
  std::vector<OpRef> forward;  // of a new program: per op of a backward, the op that made its autograd node
  std::vector<Binding> values;  // of a new program, as Program::bound
};

// Holds a limited number: the one that was not run for longest goes first.
class ProgramTable {
 public:
  // The program of this trace: known, generalised from a known one, or new.
  std::pair<Program*, bool> resolve(const Trace& trace, std::vector<int64_t>& symbols);
  // A program of which a trace with this hash is the beginning, or null.
  const Program* with_prefix(uint64_t hash) const;
  // Keeps a program of this table for longer than the table does; to be given back.
  std::shared_ptr<Program> share(const Program& program) const { return programs_.at(program.hash); }
  void give_back(std::shared_ptr<Program> program) {
    if (program.use_count() == 1) forgotten_.push_back(program->id);
  }
  void forget(uint32_t id);
  void cut(uint32_t id, size_t ops);
  void set_limit(size_t limit) { limit_ = limit; }
  // Those that went, or gave way to a more general one, since the last call.
  std::vector<uint32_t> take_forgotten() { return std::exchange(forgotten_, {}); }

 private:
  using Programs = std::unordered_map<uint64_t, std::shared_ptr<Program>>;

  Programs programs_;
  std::unordered_map<uint64_t, uint64_t> prefixes_;  // to the hash of a whole trace
  std::vector<uint32_t> forgotten_;
  size_t limit_ = SIZE_MAX;
  uint64_t resolutions_ = 0;
  uint32_t next_id_ = 1;

  std::unique_ptr<Program> build(const Trace& trace);
  void show_prefixes(const Program& program);
  void drop(Programs::iterator program);
  void drop_oldest();
  Programs::iterator find(uint32_t id);
};

// Writes the run of `program` on the values of `trace`; deletes nothing.
std::string encode_run(Program& program, const Trace& trace, const std::vector<int64_t>& symbols,
                       const std::vector<uint64_t>& freed, uint64_t tail_id);

}  // namespace genie
