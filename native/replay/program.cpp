// Turns a program as it came over the wire into one that can be replayed: every index checked, every
// operator found, every last use known.
#include "control.h"
#include "rewrite.h"

#include "program/trace.h"

#include <algorithm>
#include <set>

namespace genie {
namespace {

// Operators that reach outside the session's values.
void check_allowed(const std::string& name) {
  static const std::set<std::string> spaces = {"prim", "profiler", "c10d", "_c10d_functional", "rpc", "dist_rpc", "inductor", "debugprims"};
  const auto space = name.substr(0, name.find("::"));
  TORCH_CHECK_VALUE(spaces.count(space) == 0 && name.rfind("aten::from_file", 0) != 0, "operator ", name,
                    " may not be run by a session");
}

// Ops that read a matrix row by row, or only copy: how far apart the rows are decides nothing. A sum
// over all of it may take another order.
bool takes_rows(const std::string& name) {
  static const std::set<std::string> names = {
      "aten::bmm", "aten::baddbmm", "aten::mm", "aten::clone", "aten::_to_copy", "aten::_copy_from", "aten::copy_", "aten::cat",
      "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_fused_attention_overrideable",
      "aten::scaled_dot_product_attention"};
  return names.count(name) != 0;
}

// Running statistics and noise, of which schemas do not say that they are written to.
bool is_written_silently(const std::string& name, size_t position) {
  static const std::set<std::string> norms = {"aten::batch_norm", "aten::_batch_norm_impl_index", "aten::native_batch_norm",
                                              "aten::cudnn_batch_norm", "aten::miopen_batch_norm"};
  if (norms.count(name) != 0) return position == 3 || position == 4;
  return name == "aten::rrelu_with_noise" && position == 1;
}

uint64_t pseudo_of(const std::string& name) {
  for (uint64_t id = kAlloc; id <= kRepeat; ++id) {
    if (name == pseudo_name(id)) return id;
  }
  return 0;
}

c10::OperatorHandle find_operator(const std::string& name) {
  const auto dot = name.find('.', name.find("::"));
  const auto base = name.substr(0, dot);
  const auto overload = dot == std::string::npos ? "" : name.substr(dot + 1);
  const auto op = c10::Dispatcher::singleton().findSchema({base, overload});
  TORCH_CHECK_VALUE(op.has_value(), "operator ", name, " does not exist in this executor");
  return *op;
}

bool is_dynamic(const ReplayArg& arg) {
  switch (arg.kind) {
    case ReplayArg::Int:
    case ReplayArg::Double:
    case ReplayArg::Bool:
    case ReplayArg::String:
    case ReplayArg::None:
      return false;
    case ReplayArg::List:
      return !arg.is_constant;
    default:
      return true;
  }
}

class Finisher {
 public:
  Finisher(ReplayProgram& program, const Regions& regions) : program_(program), regions_(regions) {}

  void run() {
    check_bounds();
    int64_t index = 0;
    for (auto& op : program_.ops) {
      if (op.origin < 0) op.origin = index;
      ++index;
      finish(op);
    }
    for (const auto& op : program_.ops) {
      TORCH_CHECK_VALUE(op.pseudo != kReturn || &op == &program_.ops.back(), op.name, ": has to be the last op");
    }
    program_.returns = !program_.ops.empty() && program_.ops.back().pseudo == kReturn;
    find_last_uses();
  }

 private:
  void check_bounds() {
    TORCH_CHECK_VALUE(program_.kept.size() == program_.slots, "bad slot count");
    program_.made_here.assign(program_.slots, 0);
    for (const auto slot : program_.bound) check_slot(slot);
    for (const auto& ref : program_.tensors) {
      check_slot(ref.slot);
      TORCH_CHECK_VALUE(is_dtype(static_cast<int64_t>(ref.geometry.dtype)), "unknown dtype");
      for (const auto& [position, symbol] : ref.symbols) {
        TORCH_CHECK_VALUE(position <= 2 * ref.geometry.size.size() && symbol < program_.symbols, "symbol out of range");
      }
    }
  }

  void check_slot(uint32_t slot) const { TORCH_CHECK_VALUE(slot < program_.slots, "slot out of range"); }

  void check_arg(ReplayOp& op, const ReplayArg& arg, bool written) {
    switch (arg.kind) {
      case ReplayArg::Tensor: {
        TORCH_CHECK_VALUE(arg.index < program_.tensors.size(), "tensor out of range");
        const auto slot = program_.tensors[arg.index].slot;
        op.read_slots.push_back(slot);
        if (written) op.written_slots.push_back(slot);
        break;
      }
      case ReplayArg::Generator:
      case ReplayArg::ImplicitGenerator:
        check_slot(arg.index);
        op.read_slots.push_back(arg.index);
        if (arg.kind == ReplayArg::ImplicitGenerator) op.implicit_generator = static_cast<int32_t>(arg.index);
        break;
      case ReplayArg::IntSymbol:
      case ReplayArg::DoubleSymbol:
        TORCH_CHECK_VALUE(arg.index < program_.symbols, "symbol out of range");
        break;
      case ReplayArg::ScalarTensor:
      case ReplayArg::Complex:
        TORCH_CHECK_VALUE(arg.items.size() == 2, "two words expected");
        TORCH_CHECK_VALUE(is_dtype(static_cast<int64_t>(arg.dtype)), "unknown dtype");
        break;
      default:
        break;
    }
    for (const auto& item : arg.items) check_arg(op, item, written);
  }

  // An `out` may be resized: what else has its old geometry is laid out anew.
  static void forget_after(ReplayOp& op, const ReplayArg& arg) {
    if (arg.kind == ReplayArg::Tensor) op.dead_tensors.push_back(arg.index);
    for (const auto& item : arg.items) forget_after(op, item);
  }

  // Lists need their element type; those without tensors and symbols are built once.
  void type_arg(ReplayArg& arg, c10::TypePtr type) {
    if (arg.kind == ReplayArg::None && type->kind() == c10::TypeKind::TensorType) arg.constant = at::Tensor();  // undefined
    if (const auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
    if (arg.kind != ReplayArg::List) return;
    const auto list = type->cast<c10::ListType>();
    TORCH_CHECK_VALUE(list != nullptr, "a list where the operator takes none");
    arg.element = list->getElementType();
    arg.is_constant = true;
    for (auto& item : arg.items) {
      type_arg(item, arg.element);
      arg.is_constant = arg.is_constant && !is_dynamic(item);
    }
    if (!arg.is_constant) return;
    c10::impl::GenericList built(arg.element);
    for (const auto& item : arg.items) built.push_back(item.constant);
    arg.constant = built;
  }

  void finish(ReplayOp& op) {
    op.pseudo = pseudo_of(op.name);
    op.in_rows = takes_rows(op.name);
    if (op.pseudo == 0) {
      check_allowed(op.name);
      op.op = find_operator(op.name);
    }
    size_t count = 0;
    for (auto& arg : op.args) {
      bool written = op.pseudo != 0 && op.pseudo == kResize;
      if (op.op.has_value() && arg.kind != ReplayArg::ImplicitGenerator) {
        const auto& schema = op.op->schema();
        TORCH_CHECK_VALUE(count < schema.arguments().size(), op.name, ": too many arguments");
        const auto& argument = schema.arguments()[count++];
        type_arg(arg, argument.type());
        written = (argument.alias_info() != nullptr && argument.alias_info()->isWrite()) ||
                  is_written_silently(op.name, count - 1);
        if (argument.is_out() && arg.kind == ReplayArg::Tensor) op.outs.push_back(arg.index);
        if (written && argument.kwarg_only()) forget_after(op, arg);
      }
      check_arg(op, arg, written);
    }
    TORCH_CHECK_VALUE(!op.op.has_value() || count == op.op->schema().arguments().size(), op.name, ": too few arguments");
    for (const auto& output : op.outputs) {
      if (output.kind != ReplayOutput::New) continue;
      check_slot(output.slot);
      TORCH_CHECK_VALUE(output.tensor < program_.tensors.size(), "tensor out of range");
      program_.made_here[output.slot] = 1;
    }
    check_pseudo(op);
    if (op.pseudo >= kCond) find_regions(program_, op, regions_);
    note_modes(op);
  }

  void note_modes(const ReplayOp& op) {
    std::set<uint64_t> modes(program_.modes.begin(), program_.modes.end());
    if (op.op.has_value()) modes.insert(op.modes);
    for (const auto& region : op.regions) modes.insert(region->modes.begin(), region->modes.end());
    program_.modes.assign(modes.begin(), modes.end());
  }

  static void check_pseudo(const ReplayOp& op) {
    static const size_t arguments[] = {0, 1, 2, 1, 2, 3, 1};
    if (op.pseudo == 0) return;
    if (op.pseudo == kAppend) return check_append(op);
    if (op.pseudo == kReturn) return check_return(op);
    if (op.pseudo >= kCond) return;
    TORCH_CHECK_VALUE(op.args.size() == arguments[op.pseudo], op.name, ": wrong number of arguments");
    const bool makes = op.pseudo == kAlloc || op.pseudo == kMakeGenerator;
    TORCH_CHECK_VALUE(op.outputs.size() == (makes ? 1 : 0), op.name, ": wrong number of outputs");
    for (const auto& output : op.outputs) TORCH_CHECK_VALUE(output.kind == ReplayOutput::New, op.name, ": bad output");
  }

  static void check_return(const ReplayOp& op) {
    const bool tensors = op.args.size() == 1 && op.args[0].kind == ReplayArg::List &&
                         std::all_of(op.args[0].items.begin(), op.args[0].items.end(),
                                     [](const ReplayArg& arg) { return arg.kind == ReplayArg::Tensor; });
    TORCH_CHECK_VALUE(tensors && op.outputs.empty(), op.name, ": takes tensors, and gives none");
  }

  static void check_append(const ReplayOp& op) {
    const auto is_tensor = [](const ReplayArg& arg) { return arg.kind == ReplayArg::Tensor; };
    TORCH_CHECK_VALUE(op.args.size() == 2 && op.args[0].kind == ReplayArg::List && op.args[1].kind == ReplayArg::Int &&
                          op.args[0].items.size() >= 2 &&
                          std::all_of(op.args[0].items.begin(), op.args[0].items.end(), is_tensor),
                      op.name, ": takes tensors and a dimension");
    TORCH_CHECK_VALUE(op.outputs.size() == 1 && op.outputs[0].kind == ReplayOutput::New, op.name, ": gives one tensor");
  }

  void find_last_uses() {
    std::vector<int64_t> tensor_use(program_.tensors.size(), -1), slot_use(program_.slots, -1);
    const std::function<void(const ReplayArg&, int64_t)> use = [&](const ReplayArg& arg, int64_t index) {
      if (arg.kind == ReplayArg::Tensor) tensor_use[arg.index] = index;
      for (const auto& item : arg.items) use(item, index);
    };
    for (size_t i = 0; i < program_.ops.size(); ++i) {
      const auto index = static_cast<int64_t>(i);
      for (const auto& arg : program_.ops[i].args) use(arg, index);
      for (const auto slot : program_.ops[i].read_slots) slot_use[slot] = index;
      for (const auto& output : program_.ops[i].outputs) {
        if (output.kind != ReplayOutput::New) continue;
        tensor_use[output.tensor] = index;
        slot_use[output.slot] = index;
      }
    }
    for (size_t i = 0; i < program_.ops.size(); ++i) {
      auto& op = program_.ops[i];
      if (op.pseudo != kAppend) continue;
      op.last_read = slot_use[program_.tensors[op.args[0].items[0].index].slot] == static_cast<int64_t>(i);
    }
    for (size_t t = 0; t < tensor_use.size(); ++t) {
      if (tensor_use[t] >= 0) program_.ops[tensor_use[t]].dead_tensors.push_back(static_cast<uint32_t>(t));
    }
    for (uint32_t s = 0; s < program_.slots; ++s) {
      if (slot_use[s] >= 0 && program_.made_here[s]) program_.ops[slot_use[s]].dead_slots.push_back(s);
    }
  }

  ReplayProgram& program_;
  const Regions& regions_;
};

}  // namespace

void ReplayProgram::finish(const Regions& regions) { Finisher(*this, regions).run(); }

bool ReplayProgram::writes_to(uint32_t slot) const {
  return std::any_of(ops.begin(), ops.end(), [&](const ReplayOp& op) {
    return std::find(op.written_slots.begin(), op.written_slots.end(), slot) != op.written_slots.end();
  });
}

ReplayProgram::~ReplayProgram() = default;

}  // namespace genie
