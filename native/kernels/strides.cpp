#include "strides.h"

#include <ATen/EmptyTensor.h>
#include <ATen/TensorIterator.h>

#include <set>

namespace genie {
namespace {

bool starts_with(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

bool ends_base_with(const std::string& name, const std::string& suffix) {
  const auto base = name.substr(0, name.find('.'));
  return base.size() > suffix.size() && base.compare(base.size() - suffix.size(), suffix.size(), suffix) == 0;
}

// Computed by TensorIterator in C++, whatever the meta kernel does.
bool iterates(const OpInfo& info) {
  // The first have no tag that says so, the others no functional kernel of the CPU's own.
  static const std::set<std::string> more = {
      "aten::where.self_out", "aten::mse_loss",   "aten::smooth_l1_loss", "aten::hardswish",  "aten::floor_divide",
      "aten::logical_and",    "aten::logical_or", "aten::logical_xor",    "aten::logical_not"};
  if (more.count(info.name) != 0) return true;
  if (!info.op.hasTag(at::Tag::pointwise)) return false;
  using Key = c10::DispatchKey;
  return info.op.hasKernelForDispatchKey(Key::CPU) ||
         info.op.hasKernelForDispatchKey(Key::CompositeExplicitAutogradNonFunctional);
}

// The CPU converts what it computes with first, and so lays it out densely.
at::Tensor converted(const at::Tensor& tensor, at::ScalarType dtype) {
  if (tensor.scalar_type() == dtype || tensor.is_non_overlapping_and_dense()) return tensor;
  const auto strides = at::infer_dense_strides(tensor.sizes(), tensor.strides());
  return at::detail::empty_strided_meta(tensor.sizes(), at::IntArrayRef(strides), dtype);
}

// A number beside a tensor is a tensor of no dimension: it decides nothing but that shapes differ.
bool takes_number(const OpInfo& info) {
  const auto dot = info.name.find('.');
  const auto overload = dot == std::string::npos ? "" : info.name.substr(dot + 1);
  return (overload == "Scalar" || overload == "Scalar_out") && !starts_with(info.name, "aten::lerp");
}

bool compares(const OpInfo& info, const Geometry& g) { return g.dtype == at::kBool || starts_with(info.name, "aten::where"); }

Optional<at::DimVector> of_iterator(const OpInfo& info, const std::vector<MetaOperand>& operands, const Geometry& g) {
  at::TensorIteratorConfig config;
  const at::Tensor out;
  config.set_check_mem_overlap(false).check_all_same_dtype(false).declare_static_dtype(g.dtype).add_output(out);
  std::vector<at::Tensor> kept;
  size_t inputs = 0;
  for (const auto& operand : operands) {
    if (operand.written || !operand.tensor.defined()) continue;
    kept.push_back(compares(info, g) ? operand.tensor : converted(operand.tensor, g.dtype));
    ++inputs;
  }
  if (inputs == 0) return nullopt;
  if (inputs == 1 && takes_number(info)) kept.push_back(at::detail::empty_strided_meta({}, {}, g.dtype));
  for (const auto& tensor : kept) config.add_input(tensor);
  auto iterator = config.build();
  const auto& made = iterator.output(0);
  if (made.sizes() != at::IntArrayRef(g.size)) return nullopt;
  return at::DimVector(made.strides());
}

Optional<at::DimVector> of_format(at::MemoryFormat format, const Geometry& g) {
  const auto meta = at::detail::empty_generic(g.size, c10::GetAllocator(c10::kMeta),
                                              c10::DispatchKeySet(c10::DispatchKey::Meta), g.dtype, format);
  return at::DimVector(meta.strides());
}

// As empty_like does it.
Optional<at::DimVector> of_like(const at::Tensor& self, at::MemoryFormat format, const Geometry& g) {
  if (self.sizes() != at::IntArrayRef(g.size)) return nullopt;
  if (format != at::MemoryFormat::Preserve) return of_format(format, g);
  if (self.is_non_overlapping_and_dense()) return at::DimVector(self.strides());
  const auto dense = at::infer_dense_strides(self.sizes(), self.strides());
  return at::DimVector(dense.begin(), dense.end());
}

// What all inputs suggest, if they agree.
at::MemoryFormat common_format(const std::vector<MetaOperand>& operands) {
  Optional<at::MemoryFormat> common;
  for (const auto& operand : operands) {
    if (operand.written || !operand.tensor.defined()) continue;
    const auto format = operand.tensor.suggest_memory_format();
    if (common.has_value() && *common != format) return at::MemoryFormat::Contiguous;
    common = format;
  }
  return common.value_or(at::MemoryFormat::Contiguous);
}

bool follows_format(const OpInfo& info) {
  return starts_with(info.name, "aten::upsample_") || starts_with(info.name, "aten::_upsample_") ||
         starts_with(info.name, "aten::pixel_");
}

// The kernel writes into empty_like of its first operand.
bool is_like_self(const OpInfo& info) {
  static const std::set<std::string> names = {"aten::clone",      "aten::flip",    "aten::huber_loss",
                                              "aten::nan_to_num", "aten::deg2rad", "aten::rad2deg"};
  return ends_base_with(info.name, "_like") || names.count(info.name) != 0;
}

bool is_contiguous(const OpInfo& info) {
  static const std::set<std::string> names = {"aten::diag_embed", "aten::masked_fill.Scalar", "aten::masked_fill.Tensor",
                                              "aten::tril", "aten::triu"};
  return names.count(info.name) != 0;
}

}  // namespace

Optional<at::DimVector> known_strides(const OpInfo& info, const std::vector<MetaOperand>& operands,
                                      Optional<at::MemoryFormat> format, const Geometry& g) {
  if (!is_like_self(info) && iterates(info)) return of_iterator(info, operands, g);
  if (operands.empty() || !operands[0].tensor.defined() || operands[0].written) return nullopt;
  const auto& self = operands[0].tensor;
  if (info.name == "aten::cat.out") return of_format(common_format(operands), g);
  if (is_like_self(info)) return of_like(self, format.value_or(at::MemoryFormat::Preserve), g);
  if (is_contiguous(info)) return of_format(at::MemoryFormat::Contiguous, g);
  if (follows_format(info)) return of_format(self.suggest_memory_format(), g);
  return nullopt;
}

}  // namespace genie
