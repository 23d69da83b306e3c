// Ties operators to kernels: the device's own, the recorder for all others, and the few composite ops
// whose CPU form must be kept for the CPU's bits.
#include "ops.h"
#include "unboxed.h"

#include "core/recorder.h"

#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <mutex>
#include <set>

namespace genie {
namespace {

// Composite kernels that must go on running here: they only rearrange metadata, cross devices, or
// split into ops that are recorded themselves with an explicit generator.
bool is_kept(const std::string& name) {
  static const std::set<std::string> kept = {
      "aten::_to_copy", "aten::_unsafe_view", "aten::copy_", "aten::detach_", "aten::lift", "aten::lift_fresh",
      "aten::resize_as_", "aten::set_data", "aten::_fw_primal", "aten::_make_dual",
      "aten::_fw_primal_copy", "aten::_make_dual_copy", "aten::_pin_memory",
      "aten::_lazy_clone", "aten::_has_same_storage_numel", "aten::_copy_from", "aten::_resize_output_",
      "aten::_pack_padded_sequence", "aten::squeeze_", "aten::t_", "aten::transpose_", "aten::unsqueeze_", "aten::as_strided_", "aten::unsafe_split", "aten::unsafe_split_with_sizes", "aten::_new_zeros_with_same_feature_meta",
      "aten::sparse_coo_tensor", "aten::to_sparse", "aten::to_dense", "aten::_to_dense"};
  return kept.count(name) != 0;
}

bool starts_with(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

bool allocates_only(const std::string& name) {
  return starts_with(name, "aten::empty") || starts_with(name, "aten::new_empty");
}

bool is_foreign(const std::string& name) {
  return starts_with(name, "aten::sparse_") || starts_with(name, "aten::_sparse_") || starts_with(name, "aten::_nested") ||
         starts_with(name, "aten::set_") || starts_with(name, "aten::resize_") || starts_with(name, "aten::q_") ||
         name.find("quantize") != std::string::npos || starts_with(name, "aten::sym_");
}

bool is_tensorish(const c10::TypePtr& type) {
  if (type->kind() == c10::TypeKind::TensorType) return true;
  auto list = type->cast<c10::ListType>();
  return list && list->getElementType()->kind() == c10::TypeKind::TensorType;
}

bool is_recordable(const c10::FunctionSchema& schema) {
  bool writes = false;
  for (const auto& argument : schema.arguments()) {
    writes |= argument.alias_info() != nullptr && argument.alias_info()->isWrite();
    auto type = argument.type();
    if (auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
    if (type->kind() == c10::TypeKind::StorageType || type->kind() == c10::TypeKind::StreamObjType) return false;
    if (type->str().find("Dimname") != std::string::npos) return false;
    if (argument.real_type()->str().find("Dimname") != std::string::npos) return false;
  }
  for (const auto& result : schema.returns()) {
    if (!is_tensorish(result.type())) return false;
    if (result.alias_info() != nullptr && !result.alias_info()->isWrite()) return false;  // a view
  }
  return writes || !schema.returns().empty();
}

// A decomposition that autograd sees through stays what it is, unless the CPU has a kernel in its place
// and autograd a formula: `mish_backward`.
bool is_composite(const c10::OperatorHandle& op) {
  using c10::DispatchKey;
  if (op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd) ||
      op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional)) {
    return true;
  }
  return op.hasKernelForDispatchKey(DispatchKey::CompositeImplicitAutograd) &&
         op.hasKernelForDispatchKey(DispatchKey::CPU) && op.hasKernelForDispatchKey(DispatchKey::Autograd);
}

// Composite kernels that look at the memory behind a tensor, whatever its device: here they would crash.
bool reads_memory(const std::string& name) {
  return name == "aten::_saturate_weight_to_fp16" || name == "aten::choose_qparams_optimized" ||
         starts_with(name, "aten::fbgemm_");
}

// Composite ops run their decomposition unless told otherwise; most are better recorded whole.
bool should_record(const c10::OperatorHandle& op) {
  if (!op.hasSchema()) return false;
  const auto& name = op.operator_name().name;
  if (!starts_with(name, "aten::") || op.hasKernelForDispatchKey(c10::DispatchKey::PrivateUse1)) return false;
  if (reads_memory(name)) return true;
  if (!is_composite(op)) return false;
  if (is_kept(name) || allocates_only(name) || is_foreign(name) || !is_recordable(op.schema())) return false;
  return !op.hasTag(at::Tag::nondeterministic_seeded) || op_info(op).generator.empty() ||
         op.hasKernelForDispatchKey(c10::DispatchKey::CPU);
}

}  // namespace

namespace {

// Has the fallback for its kernel here: no decomposition, nothing of our own.
bool falls_back(const c10::OperatorHandle& op) {
  using c10::DispatchKey;
  return op.hasSchema() && starts_with(op.operator_name().name, "aten::") && op.hasKernelForDispatchKey(DispatchKey::CPU) &&
         !op.hasKernelForAnyDispatchKey(c10::DispatchKeySet({DispatchKey::PrivateUse1, DispatchKey::CompositeImplicitAutograd})) &&
         !op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd) &&
         !op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutogradNonFunctional);
}

void register_recorders() {
  auto& library = library_of("aten", c10::DispatchKey::PrivateUse1);
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findSchema(name);
    if (!op) continue;
    const bool composite = should_record(*op);
    if (!composite && !falls_back(*op)) continue;
    if (register_unboxed(*op) || !composite) continue;
    library.impl(c10::toString(name).c_str(), torch::CppFunction::makeFromBoxedFunction<&record>());
  }
}

// Ops of other libraries reach the device through autograd's key, where torch has a fallback for each
// kind of device, PrivateUse1's among them in 2.13 but not up to 2.6.
void register_autograd_fallback() {
  constexpr auto kKey = c10::DispatchKey::AutogradPrivateUse1;
  if (c10::Dispatcher::singleton().hasBackendFallbackForDispatchKey(kKey)) return;
  library_of("_", kKey).fallback(torch::autograd::basicAutogradNotImplementedFallback());
}

}  // namespace

void register_ops() {
  static std::once_flag once;
  std::call_once(once, [] {
    register_layouts();
    register_autocast();
    register_recorders();
    library_of("_", c10::DispatchKey::PrivateUse1).fallback(torch::CppFunction::makeFromBoxedFunction<&record>());
    register_autograd_fallback();
  });
}

}  // namespace genie

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  namespace ops = genie::ops;
  m.impl("empty.memory_format", TORCH_FN(ops::empty_memory_format));
  m.impl("empty_strided", TORCH_FN(ops::empty_strided));
  m.impl("_efficientzerotensor", TORCH_FN(ops::efficient_zero_tensor));
  m.impl("as_strided", TORCH_FN(ops::as_strided));
  m.impl("view", TORCH_FN(ops::view));
  m.impl("_reshape_alias", TORCH_FN(ops::reshape_alias));
  m.impl("unfold", TORCH_FN(ops::unfold));
  m.impl("view_as_real", TORCH_FN(ops::view_as_real));
  m.impl("view_as_complex", TORCH_FN(ops::view_as_complex));
  m.impl("copy_", TORCH_FN(ops::copy_));
  m.impl("_copy_from", TORCH_FN(ops::copy_from));
  m.impl("_copy_from_and_resize", TORCH_FN(ops::copy_from_and_resize));
  m.impl("_local_scalar_dense", TORCH_FN(ops::local_scalar_dense));
  m.impl("resize_", TORCH_FN(ops::resize_));
  m.impl("set_.source_Storage", TORCH_FN(ops::set_source_storage));
  m.impl("set_.source_Storage_storage_offset", TORCH_FN(ops::set_source_storage_offset));
  m.impl("set_.source_Tensor", TORCH_FN(ops::set_source_tensor));
  m.impl("set_", TORCH_FN(ops::set_empty));
  m.impl("record_stream", TORCH_FN(ops::record_stream));
}
