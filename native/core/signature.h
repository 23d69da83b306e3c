// The signature of a call: all that decides its outputs' metadata. Seen once, its outputs are known.
//
// A call is written as three streams. `structure` holds what two runs of the same program share:
// the op, kinds and counts of arguments, dtypes, flags. `literals` holds integers that take part in
// the metadata: sizes, strides, offsets, dims. `values` holds numbers that do not (a learning rate,
// a 0-dim CPU tensor's content) and is no part of the signature.
#pragma once

#include "geometry.h"
#include "stream.h"
#include "value.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace genie {

enum class Tag : uint8_t {
  None = 1,
  Tensor,        // payload: dtype | ndim << 8 | flags << 16; literals: offset, sizes, strides; an operand
  ScalarTensor,  // a 0-dim CPU tensor. payload: dtype | flags << 16; values: its bytes
  Int,           // literals: 1
  IntValue,      // values: 1
  Double,        // values: 1
  DoubleLiteral, // literals: 1 (bits), for ops whose shapes depend on floats
  Complex,       // values: 2
  Bool,          // payload
  Enum,          // payload: dtype, layout or memory format
  String,        // payload: length; structure: its bytes in words
  List,          // payload: length
  IntList,       // payload: length; literals: each
  Device,        // this device
  Generator,     // an operand
  ImplicitGenerator,  // an operand that the op takes from the global state, not from an argument
};

inline uint64_t word(Tag tag, uint64_t payload = 0) { return uint64_t(tag) | payload << 8; }

enum class ArgKind : uint8_t { Plain, Enum, Scalar };

// What is known of an op, once.
struct OpInfo {
  const c10::OperatorHandle op;
  const c10::FunctionSchema* key;
  std::string name;  // aten::add.Tensor
  uint64_t identity = 0;  // a hash of the name: the same in every process
  std::vector<ArgKind> args;
  std::vector<bool> written;     // per argument: does the op write to it
  std::vector<bool> generator;   // per argument: is it a generator
  std::vector<int> aliases;      // per return: the argument that it is, or -1
  bool tensors_only = true;      // returns nothing but tensors and lists of them
  bool permanent = false;        // of aten, which nobody unloads
  bool literal_scalars = false;  // arange, upsample…: floats decide the shape
  bool implicit_random = false;  // draws from the default generator and has no generator argument
  bool random = false;
  bool contraction = false;      // a product of matrices or a convolution
  bool uploads_indices = false;  // takes CPU index tensors beside device tensors
  bool host_computable = true;
  bool bumps_versions = false;   // writes to lists: autograd leaves counting that to the kernel
  bool tells_twins = false;      // its kernel may tell two tensors of the same geometry apart

  explicit OpInfo(const c10::OperatorHandle& handle);
};

OpInfo& op_info(const c10::OperatorHandle& op);

struct Operand {
  c10::TensorImpl* tensor = nullptr;  // null for a generator
  Value* value = nullptr;
  bool written = false;
  bool twin = false;  // see kTwin
};

// One output of a signature, in flat order.
struct OutputSpec {
  enum Kind : uint8_t { New, Alias, Undefined };
  Kind kind = New;
  int operand = -1;  // Alias: this operand itself
  Geometry geometry;
  size_t nbytes = 0;
};

class CallWriter;

struct Signature {
  enum Kind : uint8_t { Known, AskExecutor, Fallback };
  Kind kind = Known;
  OpInfo* op = nullptr;  // null for the pseudo-ops of trace.h
  uint64_t hash = 0;
  uint32_t structure_id = 0;  // equal for signatures that differ in literals only
  uint32_t pins = 0;          // known programs that hold this signature
  std::vector<uint64_t> structure;
  std::vector<int64_t> literals;  // the call's, then the new outputs' sizes, strides and offset
  size_t call_literals = 0;
  size_t operand_count = 0;
  std::vector<OutputSpec> outputs;
  std::vector<int> returns;  // per return: -1 one tensor, else the length of the list
  bool heavy = false;            // worth starting at once on the executor
  bool learns = false;           // AskExecutor: the first answer holds for all later calls
  Signature* learned = nullptr;  // what that answer was
  std::vector<OutputSpec> resized;  // operands whose geometry the op changes (out= that resizes)

  bool describes(const CallWriter& call) const;
};

// Writes a call's streams. Reused, so that steady state allocates nothing.
class CallWriter {
 public:
  Stream<uint64_t> structure;
  Stream<int64_t> literals;
  Stream<int64_t> values;
  Stream<Operand> operands;
  int device = -1;

  void reset();
  // Throws for what cannot be recorded: tensors of other devices, unsupported layouts or types.
  void write_call(OpInfo& info, const torch::jit::Stack& stack, size_t first);
  // The same for arguments that stand on no stack: each in turn, between `begin` and `end`.
  void begin(const OpInfo& info);
  void add(const OpInfo& info, size_t arg, const at::Tensor& value) { write_tensor(info, value, info.written[arg]); }
  void add(const OpInfo& info, size_t arg, const at::Scalar& value);
  void add(const OpInfo& info, size_t arg, int64_t value) { write_int(info, info.args[arg], value); }
  void add(const OpInfo& info, size_t, double value) { write_double(info, value); }
  void add(const OpInfo&, size_t, bool value) { structure.push_back(word(Tag::Bool, value)); }
  void add(const OpInfo&, size_t, at::IntArrayRef value);
  void add(const OpInfo& info, size_t arg, at::ScalarType value) { add(info, arg, static_cast<int64_t>(value)); }
  void add(const OpInfo& info, size_t arg, at::MemoryFormat value) { add(info, arg, static_cast<int64_t>(value)); }
  void add(const OpInfo&, size_t, std::string_view value) { write_string(value); }
  void add(const OpInfo& info, size_t arg, const at::ITensorListRef& value);
  void add(const OpInfo& info, size_t arg, at::OptionalIntArrayRef value) {
    value.has_value() ? add(info, arg, *value) : structure.push_back(word(Tag::None));
  }
  template <typename T>
  void add(const OpInfo& info, size_t arg, const Optional<T>& value) {
    value.has_value() ? add(info, arg, *value) : structure.push_back(word(Tag::None));
  }
  void end(const OpInfo& info);
  uint64_t hash() const;

 private:
  void write(const OpInfo& info, size_t arg, const c10::IValue& value);
  void write_tensor(const OpInfo& info, const at::Tensor& tensor, bool written);
  bool is_twin(const c10::TensorImpl* impl, const Value* value) const;
  void write_scalar_tensor(const at::Tensor& tensor);
  void write_int(const OpInfo& info, ArgKind kind, int64_t value);
  void write_double(const OpInfo& info, double value);
  void write_list(const OpInfo& info, size_t arg, const c10::IValue& value);
  void write_string(std::string_view text);
  void set_device(int index);
};

// Signature cache: open addressing, exact comparison. Signatures that no program holds are evicted
// once there are too many; only while no trace is open, since traces point to them.
class SignatureCache {
 public:
  Signature* find(const CallWriter& call, uint64_t hash) const;
  Signature* insert(const CallWriter& call, uint64_t hash, std::unique_ptr<Signature> signature);
  // Puts an answer beside the question that `asked` stands for.
  void learn(Signature* asked, const CallWriter& call, std::unique_ptr<Signature> answer);
  size_t size() const { return owned_.size(); }
  bool crowded() const { return owned_.size() > kLimit; }
  void evict();

 private:
  std::vector<Signature*> table_ = std::vector<Signature*>(4096, nullptr);
  std::vector<std::unique_ptr<Signature>> owned_;
  static constexpr size_t kLimit = 1 << 16;
  void rebuild(size_t size);
  void place(Signature* signature);
  static void complete(Signature& signature, const CallWriter& call, uint64_t hash);
};

inline uint64_t mix(uint64_t hash, uint64_t value) {
  const auto product = static_cast<unsigned __int128>(hash ^ value) * 0x9E3779B97F4A7C15ULL;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace genie
