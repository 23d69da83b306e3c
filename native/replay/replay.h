// Replays programs on real tensors, in order, without Python: the executor's inner loop.
#pragma once

#include "core/modes.h"
#include "program/codec.h"
#include "store.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <functional>
#include <vector>

namespace genie {

// A tensor as an op sees it: a slot's storage under a geometry, some numbers of which are symbols.
struct TensorRef {
  uint32_t slot = 0;
  Geometry geometry;
  std::vector<std::pair<uint32_t, uint32_t>> symbols;  // (position in offset·sizes·strides, symbol)
};

struct ReplayArg {
  enum Kind : uint8_t {
    None, Tensor, Generator, Int, IntSymbol, Double, DoubleSymbol, Bool, String, List, Device, ScalarTensor, Complex,
    ImplicitGenerator
  };
  Kind kind = None;
  c10::IValue constant;  // Int, Double, Bool, String; lists of constants
  uint32_t index = 0;    // tensor, slot or symbol
  at::ScalarType dtype = at::ScalarType::Float;
  bool wrapped = false;
  bool is_constant = false;
  std::vector<ReplayArg> items;  // List; the two words of ScalarTensor; the two parts of Complex
  c10::TypePtr element;
};

struct ReplayOutput {
  enum Kind : uint8_t { New, Alias, Undefined };
  Kind kind = New;
  uint32_t slot = 0;
  uint32_t tensor = 0;  // its expected geometry
};

struct ReplayProgram;

struct ReplayOp {
  std::string name;
  Optional<c10::OperatorHandle> op;
  uint64_t pseudo = 0;  // a PseudoOp when there is no handle
  std::vector<ReplayArg> args;
  std::vector<ReplayOutput> outputs;
  std::vector<uint32_t> read_slots, written_slots;
  std::vector<uint32_t> outs;  // the tensors that are an `out=`
  std::vector<uint32_t> dead_tensors, dead_slots;  // after this op nothing needs them
  int32_t implicit_generator = -1;
  uint64_t modes = kDefaultModes;  // as they were when the user called it
  int64_t origin = -1;     // the op of the client's program that it stands for
  bool once = false;       // what it gives is the same in every run
  bool in_rows = false;    // gives the same bits, however far apart the rows of its operands are
  bool last_read = false;  // of an append: nothing reads afterwards what it appends to
  std::vector<std::shared_ptr<ReplayProgram>> regions;  // of control flow, as they stand among the arguments
};

struct Rewrite;

// Branches and bodies by name.
using Regions = std::unordered_map<std::string, std::shared_ptr<ReplayProgram>>;

struct ReplayProgram {
  int64_t id = 0;
  uint32_t slots = 0, symbols = 0;
  bool tail = false;
  std::vector<uint32_t> bound;
  std::vector<uint8_t> kept, made_here;  // per slot
  std::vector<TensorRef> tensors;
  std::vector<ReplayOp> ops;
  std::vector<uint64_t> last_ids;
  uint64_t last_base = 0;
  std::unordered_map<uint32_t, StoredValue> constants;  // per slot: what an op gave that runs once
  std::unique_ptr<Rewrite> rewrite;
  std::vector<uint64_t> modes;  // of its ops, and of those of its regions
  bool returns = false;         // a region: its last op says what it gives
  int depth = 0;                // of the regions in it

  ~ReplayProgram();
  // Checks every index, finds the operators, regions and last uses. Throws ValueError.
  void finish(const Regions& regions);
  // Where an op of it writes to, or makes.
  bool writes_to(uint32_t slot) const;
};

struct Bindings;

class Replayer {
 public:
  explicit Replayer(c10::Device device) : store_(device) {}

  ValueStore& store() { return store_; }
  // A region gets `name`, by which programs that are defined later refer to it. Throws ValueError.
  void define(std::unique_ptr<ReplayProgram> program, const std::string& name);
  // Another program with the same effect as a known one. Throws ValueError where it cannot be.
  void define_rewrite(std::unique_ptr<Rewrite> rewrite);
  void forget(int64_t program);
  const std::unordered_map<int64_t, std::unique_ptr<ReplayProgram>>& programs() const { return programs_; }
  // Replays as `payload` says. Returns the encoded outputs of the last op of a program with a tail.
  Optional<std::string> run(std::string_view payload);
  // Ops whose real strides differed from what the client had inferred, with how often.
  const std::unordered_map<std::string, uint64_t>& restrided() const { return restrided_; }

 private:
  struct Frame;

  Bindings decode_bindings(ReplayProgram& program, Decoder& in);
  void play(Frame& frame, size_t from, size_t to);
  // Plays both the program and its rewrite, and says whether they agree; `frame` is the program's.
  void check(Rewrite& rewrite, Frame& frame);
  void keep_constant(Frame& frame, uint32_t slot);
  void drop_constants(ReplayProgram& program);
  void load_inputs(Frame& frame);
  void store_kept(Frame& frame);
  void step(Frame& frame, size_t index);
  void execute(Frame& frame, const ReplayOp& op, torch::jit::Stack& stack);
  void settle_outs(Frame& frame, const ReplayOp& op);
  void execute_pseudo(Frame& frame, const ReplayOp& op);
  void append(Frame& frame, const ReplayOp& op);
  // Control flow: see control.cpp.
  std::vector<at::Tensor> run_region(Frame& frame, const ReplayOp& op, size_t region, const std::vector<c10::Storage>& given);
  void run_body(Frame& frame, const ReplayOp& op, size_t body, std::vector<c10::Storage>& carried);
  void branch(Frame& frame, const ReplayOp& op);
  void loop(Frame& frame, const ReplayOp& op);
  void repeat(Frame& frame, const ReplayOp& op);
  void take_carried(Frame& frame, const ReplayOp& op, const std::vector<c10::Storage>& carried);
  void take_outputs(Frame& frame, const ReplayOp& op, torch::jit::Stack& stack);
  void take_output(Frame& frame, const ReplayOp& op, const ReplayOutput& output, at::Tensor result);
  void spoil(Frame& frame, const ReplayOp& op, const FailurePtr& failure);
  std::string encode_tail(Frame& frame, const ReplayOp& op, const torch::jit::Stack& stack);

  static constexpr size_t kMostConstants = size_t(256) << 20;  // bytes, of all programs together

  ValueStore store_;
  size_t constant_bytes_ = 0;
  std::unordered_map<int64_t, std::unique_ptr<ReplayProgram>> programs_;
  std::unordered_map<std::string, uint64_t> restrided_;
  Regions regions_;
};

}  // namespace genie
