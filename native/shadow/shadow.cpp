#include "shadow.h"

#include <ATen/core/LegacyTypeDispatch.h>

#include <unordered_map>

namespace genie {
namespace {

bool qualifies(at::ScalarType dtype, size_t nbytes) {
  return c10::isIntegralType(dtype, true) && nbytes <= kShadowLimit;
}

using Twins = std::unordered_map<c10::TensorImpl*, at::Tensor>;

at::Tensor on_host(const at::Tensor& tensor, Twins& twins) {
  if (!tensor.defined() || !tensor.device().is_privateuseone()) return tensor;
  auto& twin = twins[tensor.unsafeGetTensorImpl()];
  if (!twin.defined()) twin = make_view(value_of(*tensor.unsafeGetTensorImpl())->shadow, geometry_of(tensor));
  return twin;
}

c10::IValue on_host(const c10::IValue& value, Twins& twins) {
  if (value.isTensor()) return on_host(value.toTensor(), twins);
  if (value.isDevice()) return c10::Device(c10::kCPU);
  if (value.isTensorList()) {
    auto list = value.toTensorVector();
    for (auto& tensor : list) tensor = on_host(tensor, twins);
    return list;
  }
  if (value.isList() && !value.isIntList() && !value.isDoubleList() && !value.isBoolList()) {
    auto list = value.to<c10::List<c10::IValue>>().copy();
    for (size_t i = 0; i < list.size(); ++i) list.set(i, on_host(list.get(i), twins));
    return list;
  }
  return value;
}

// The result's bytes laid out as the device tensor is.
c10::Storage laid_out(const at::Tensor& result, const OutputSpec& spec, const std::vector<c10::StorageImpl*>& operands) {
  const auto& g = spec.geometry;
  const auto& storage = result.storage();
  bool shared = false;
  for (auto* operand : operands) shared |= operand == storage.unsafeGetStorageImpl();
  if (!shared && result.sizes() == g.size && result.strides() == g.stride && result.storage_offset() == g.offset &&
      storage.nbytes() >= spec.nbytes) {
    return storage;
  }
  c10::Storage copy = at::empty({static_cast<int64_t>(spec.nbytes)}, at::kByte).storage();
  make_view(copy, g).copy_(result);
  return copy;
}

void compute(const Signature& signature, const CallWriter& call, const torch::jit::Stack& stack,
             const Results& results) {
  const at::AutoDispatchBelowADInplaceOrView guard;
  torch::jit::Stack host_stack;
  Twins twins;
  const size_t first = stack.size() - signature.op->args.size();
  for (size_t i = first; i < stack.size(); ++i) host_stack.push_back(on_host(stack[i], twins));
  std::vector<c10::StorageImpl*> operands;
  for (const auto& operand : call.operands) operands.push_back(operand.value->shadow.unsafeGetStorageImpl());
  signature.op->op.callBoxed(host_stack);
  size_t next = 0;
  const auto keep = [&](const at::Tensor& result) {
    const auto& spec = signature.outputs[next];
    if (spec.kind == OutputSpec::New) {
      value_of(*results[next].unsafeGetTensorImpl())->shadow = laid_out(result, spec, operands);
    }
    ++next;
  };
  for (const auto& item : host_stack) {
    if (item.isTensor()) {
      keep(item.toTensor());
    } else {
      for (const auto& tensor : item.toTensorVector()) keep(tensor);
    }
  }
}

}  // namespace

bool computable(const Signature& signature, const CallWriter& call) {
  if (signature.op == nullptr || !signature.op->host_computable || signature.outputs.empty()) return false;
  if (!signature.resized.empty()) return false;
  for (const auto& operand : call.operands) {
    if (operand.tensor == nullptr || !operand.value->shadow) return false;
  }
  for (const auto& spec : signature.outputs) {
    if (spec.kind == OutputSpec::Undefined) return false;
    if (spec.kind == OutputSpec::New && !qualifies(spec.geometry.dtype, spec.nbytes)) return false;
  }
  return true;
}

void forget_shadows(const CallWriter& call) {
  for (const auto& operand : call.operands) {
    if (operand.written && operand.value->shadow) operand.value->shadow = {};
  }
}

void update_shadows(const Signature& signature, const CallWriter& call, const torch::jit::Stack& stack,
                    const Results& results) {
  if (computable(signature, call)) {
    try {
      return compute(signature, call, stack, results);
    } catch (const std::exception&) {
      // The executor meets the same error and reports it with its place; here the value is just unknown.
    }
  }
  forget_shadows(call);
}

c10::Storage blank_shadow(at::ScalarType dtype, size_t nbytes) {
  if (!qualifies(dtype, nbytes)) return {};
  return at::empty({static_cast<int64_t>(nbytes)}, at::kByte).storage();
}

c10::Storage shadow_from(const at::Tensor& cpu) {
  if (!qualifies(cpu.scalar_type(), cpu.nbytes())) return {};
  return cpu.clone(at::MemoryFormat::Preserve).storage();
}

}  // namespace genie
