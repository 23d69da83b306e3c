#include "meta.h"

#include "strides.h"

#include <ATen/OpMathType.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <unordered_map>

namespace genie {
namespace {

struct MetaCall {
  torch::jit::Stack stack;
  std::vector<at::Tensor> operands;  // the meta twins of the device tensors, in flat order
  std::vector<Geometry> before;
  std::vector<bool> is_out;  // the operands that are an `out=`
  bool at_out = false;
  std::unordered_map<c10::StorageImpl*, c10::Storage> storages;
  std::unordered_map<c10::TensorImpl*, size_t> named;  // the operand that a tensor was first

  at::Tensor twin(const at::Tensor& tensor) {
    if (!tensor.defined() || !tensor.device().is_privateuseone()) return tensor;
    const auto [found, is_new] = named.emplace(tensor.unsafeGetTensorImpl(), operands.size());
    if (!is_new) {  // kernels ask whether an output is an input
      const size_t first = found->second;
      is_out[first] = is_out[first] || at_out;
      skip_operand();
      return operands[first];
    }
    auto& storage = storages[tensor.storage().unsafeGetStorageImpl()];
    if (!storage) {
      const auto nbytes = static_cast<int64_t>(tensor.storage().nbytes());
      storage = at::empty({nbytes}, at::TensorOptions().dtype(at::kByte).device(at::kMeta)).storage();
    }
    before.push_back(geometry_of(tensor));
    is_out.push_back(at_out);
    const auto& g = before.back();
    operands.push_back(make_view_unchecked(storage, c10::DispatchKey::Meta, g.dtype, g.flags, g.offset, g.size, g.stride));
    return operands.back();
  }

  void skip_operand() {  // a generator, an operand without a tensor, or a tensor that was named before
    operands.emplace_back();
    before.emplace_back();
    is_out.push_back(false);
  }

  c10::IValue convert(const c10::IValue& value) {
    if (value.isTensor()) return twin(value.toTensor());
    if (value.isDevice()) return c10::Device(c10::kMeta);
    if (value.isGenerator()) return c10::IValue();
    if (value.isTensorList()) {
      auto list = value.toTensorVector();
      for (auto& tensor : list) tensor = twin(tensor);
      return list;
    }
    if (value.isList() && !value.isIntList() && !value.isDoubleList() && !value.isBoolList()) {
      auto list = value.to<c10::List<c10::IValue>>().copy();
      for (size_t i = 0; i < list.size(); ++i) list.set(i, convert(list.get(i)));
      return list;
    }
    return value;
  }
};

size_t nbytes_of(const at::Tensor& meta, const Geometry& g) {
  return std::max(extent_of(g), size_t(meta.storage().nbytes()));
}

OutputSpec describe(const at::Tensor& out, const MetaCall& call) {
  OutputSpec spec;
  if (!out.defined()) {
    spec.kind = OutputSpec::Undefined;
    return spec;
  }
  TORCH_CHECK_NOT_IMPLEMENTED(out.is_meta() && out.layout() == c10::kStrided, "the meta kernel gave no meta tensor");
  spec.geometry = geometry_of(out);
  for (size_t i = 0; i < call.operands.size(); ++i) {
    if (call.operands[i].is_same(out)) {
      spec.kind = OutputSpec::Alias;
      spec.operand = static_cast<int>(i);
      return spec;
    }
  }
  spec.nbytes = nbytes_of(out, spec.geometry);
  for (const auto& operand : call.operands) {
    if (operand.defined() && operand.storage().is_alias_of(out.storage())) {  // shares bytes with an input: a value of its own here
      spec.geometry.offset = 0;
      spec.nbytes = extent_of(spec.geometry);
    }
  }
  return spec;
}

}  // namespace

namespace {

// The call's tensors as meta tensors, the memory format that it asks for.
std::pair<std::vector<MetaOperand>, Optional<at::MemoryFormat>> meta_operands(const OpInfo& info,
                                                                              const torch::jit::Stack& stack) {
  std::pair<std::vector<MetaOperand>, Optional<at::MemoryFormat>> found;
  for (size_t i = 0; i < stack.size(); ++i) {
    const auto& argument = info.op.schema().arguments()[i];
    if (stack[i].isInt() && argument.name() == "memory_format") found.second = stack[i].toMemoryFormat();
    if (!stack[i].isTensor() && !stack[i].isTensorList()) continue;
    const auto tensors = stack[i].isTensor() ? std::vector<at::Tensor>{stack[i].toTensor()} : stack[i].toTensorVector();
    for (auto tensor : tensors) {
      if (tensor.defined() && !tensor.is_meta()) tensor = at::empty({}, tensor.options().device(at::kMeta));
      found.first.push_back({tensor, info.written[i]});
    }
  }
  return found;
}

// Whether the strides are the real kernel's for sure.
bool correct(const OpInfo& info, const std::vector<MetaOperand>& operands, Optional<at::MemoryFormat> format,
             OutputSpec& spec) {
  if (spec.geometry.size.empty()) return true;
  const auto strides = known_strides(info, operands, format, spec.geometry);
  if (strides.has_value()) spec.geometry.stride = *strides;
  return strides.has_value();
}

// 2.6's meta kernel promises a float logsumexp whatever the query is; the kernel computes in at least float.
void correct_dtypes(const OpInfo& info, Signature& signature) {
  if (info.name != "aten::_scaled_dot_product_flash_attention_for_cpu") return;
  auto& logsumexp = signature.outputs.at(1);
  logsumexp.geometry.dtype = at::toOpMathType(signature.outputs[0].geometry.dtype);
  logsumexp.nbytes = extent_of(logsumexp.geometry);
}

// Kernels lay out a tensor without elements as it comes, and their meta kernels otherwise.
bool is_arbitrary(const OutputSpec& spec) {
  const auto& size = spec.geometry.size;
  return spec.kind == OutputSpec::New && size.size() > 1 && std::count(size.begin(), size.end(), 0) != 0;
}

}  // namespace

std::unique_ptr<Signature> ask_once() {
  auto signature = std::make_unique<Signature>();
  signature->kind = Signature::AskExecutor;
  signature->learns = true;
  return signature;
}

std::unique_ptr<Signature> infer_with_meta(OpInfo& info, const torch::jit::Stack& arguments) {
  if (!info.tensors_only) return nullptr;
  MetaCall call;
  for (size_t i = 0; i < arguments.size(); ++i) {
    call.at_out = info.op.schema().arguments()[i].is_out();
    call.stack.push_back(call.convert(arguments[i]));
    if (info.generator[i] && (info.random || !arguments[i].isNone())) call.skip_operand();
  }
  const at::AutoDispatchBelowADInplaceOrView guard;
  const auto [operands, format] = meta_operands(info, call.stack);
  info.op.callBoxed(call.stack);
  auto signature = std::make_unique<Signature>();
  for (const auto& item : call.stack) {
    if (item.isTensor()) {
      signature->returns.push_back(-1);
      signature->outputs.push_back(describe(item.toTensor(), call));
    } else {
      const auto list = item.toTensorVector();
      signature->returns.push_back(static_cast<int>(list.size()));
      for (const auto& tensor : list) signature->outputs.push_back(describe(tensor, call));
    }
  }
  correct_dtypes(info, *signature);
  bool sure = operands.empty();
  if (signature->outputs.size() == 1 && signature->outputs[0].kind == OutputSpec::New) {
    sure = correct(info, operands, format, signature->outputs[0]) || sure;
  }
  if (!sure && std::any_of(signature->outputs.begin(), signature->outputs.end(), is_arbitrary)) return ask_once();
  for (size_t i = 0; i < call.operands.size(); ++i) {
    if (!call.operands[i].defined()) continue;
    const auto after = geometry_of(call.operands[i]);
    if (after == call.before[i]) continue;
    if (call.is_out[i]) {
      // Of the right size it keeps its strides, whatever the meta kernel makes of it. The strides of one
      // that is resized are each real kernel's own; only what an op gives back can be asked for.
      if (after.size == call.before[i].size) continue;
      if (!signature->returns.empty()) return nullptr;
    }
    OutputSpec spec;
    spec.operand = static_cast<int>(i);
    spec.geometry = after;
    spec.nbytes = nbytes_of(call.operands[i], after);
    correct(info, operands, format, spec);
    signature->resized.push_back(spec);
  }
  return signature;
}

}  // namespace genie
