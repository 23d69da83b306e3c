#include "signature.h"

#include "device.h"
#include "modes.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace genie {
namespace {

bool starts_with(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

bool shape_depends_on_floats(const std::string& name) {
  return starts_with(name, "aten::arange") || starts_with(name, "aten::range") ||
         name.find("upsample") != std::string::npos;
}

bool takes_host_indices(const std::string& name) {
  return starts_with(name, "aten::index.") || starts_with(name, "aten::index_put") ||
         starts_with(name, "aten::_index_put_impl") || starts_with(name, "aten::_unsafe_index");
}

ArgKind kind_of(const c10::Argument& argument) {
  auto type = argument.real_type();
  if (auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
  if (auto list = type->cast<c10::ListType>()) type = list->getElementType();
  switch (type->kind()) {
    case c10::TypeKind::ScalarTypeType:
    case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType:
      return ArgKind::Enum;
    case c10::TypeKind::NumberType:
      return ArgKind::Scalar;
    default:
      return ArgKind::Plain;
  }
}

bool is_tensors(const c10::TypePtr& type) {
  if (type->kind() == c10::TypeKind::TensorType) return true;
  auto list = type->cast<c10::ListType>();
  return list && list->getElementType()->kind() == c10::TypeKind::TensorType;
}

// The argument that a return aliases for writing (in-place and out=), or -1.
int aliased_argument(const c10::FunctionSchema& schema, size_t index) {
  const auto* alias = schema.returns()[index].alias_info();
  if (alias == nullptr || !alias->isWrite()) return -1;
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const auto* other = schema.arguments()[i].alias_info();
    if (other != nullptr && other->beforeSets() == alias->beforeSets()) return static_cast<int>(i);
  }
  return -1;
}

// Pointwise kernels neither mind a full overlap nor resize, except an `out=`.
bool asks_identity(const c10::OperatorHandle& handle, const std::string& name) {
  if (starts_with(name, "aten::_foreach_") || starts_with(name, "aten::_fused_") || name == "aten::copy_") return false;
  for (const auto& argument : handle.schema().arguments()) {
    if (argument.is_out()) return true;
  }
  return handle.schema().is_mutable() && !handle.hasTag(at::Tag::pointwise);
}

bool same_geometry(const c10::TensorImpl& a, const c10::TensorImpl& b) {
  return a.dtype() == b.dtype() && a.storage_offset() == b.storage_offset() && a.sizes() == b.sizes() &&
         a.strides() == b.strides() && a.is_conj() == b.is_conj() && a.is_neg() == b.is_neg();
}

[[noreturn]] void fail_device(const OpInfo& info, const at::Device& first, const at::Device& other) {
  TORCH_CHECK(false, "Expected all tensors to be on the same device, but found at least two devices, ",
              first, " and ", other, "! (in ", info.name, ")");
}

}  // namespace

OpInfo::OpInfo(const c10::OperatorHandle& handle)
    : op(handle), key(&handle.schema()), name(toString(handle.operator_name())) {
  const auto& schema = handle.schema();
  bool has_generator = false;
  bool writes_list = false;
  for (const auto& argument : schema.arguments()) {
    args.push_back(kind_of(argument));
    written.push_back(argument.alias_info() != nullptr && argument.alias_info()->isWrite());
    auto type = argument.type();
    writes_list |= written.back() && type->kind() == c10::TypeKind::ListType;
    if (auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
    generator.push_back(type->kind() == c10::TypeKind::GeneratorType);
    has_generator |= generator.back();
  }
  for (size_t i = 0; i < schema.returns().size(); ++i) {
    aliases.push_back(aliased_argument(schema, i));
    tensors_only = tensors_only && is_tensors(schema.returns()[i].type());
  }
  for (const char letter : name) identity = mix(identity, static_cast<uint8_t>(letter));
  permanent = starts_with(name, "aten::");
  literal_scalars = !permanent || shape_depends_on_floats(name);
  uploads_indices = takes_host_indices(name);
  contraction = name.find("mm") != std::string::npos || name.find("conv") != std::string::npos ||
                name.find("attention") != std::string::npos;
  const bool outs = handle.operator_name().overload_name.find("out") != std::string::npos;
  bumps_versions = (outs || starts_with(name, "aten::_foreach_")) && writes_list;
  tells_twins = asks_identity(handle, name);
  random = handle.hasTag(at::Tag::nondeterministic_seeded);
  implicit_random = random && !has_generator;
  host_computable = !random && !has_generator && tensors_only && starts_with(name, "aten::");
}

namespace {

// An op of a library that was removed leaves its schema's address to another; aten stays.
bool still_names(const OpInfo& info, const c10::OperatorHandle& op) {
  return info.permanent || info.name == toString(op.operator_name());
}

}  // namespace

OpInfo& op_info(const c10::OperatorHandle& op) {
  // The schema lives as long as the op. A small direct-mapped cache answers without a lock.
  static std::array<std::atomic<OpInfo*>, 4096> cache{};
  const auto* key = &op.schema();
  auto& entry = cache[(reinterpret_cast<uintptr_t>(key) >> 5) & 4095];
  auto* cached = entry.load(std::memory_order_acquire);
  if (cached != nullptr && cached->key == key && still_names(*cached, op)) return *cached;
  static std::mutex mutex;
  static auto* all = new std::unordered_map<const c10::FunctionSchema*, std::unique_ptr<OpInfo>>();
  const std::lock_guard<std::mutex> lock(mutex);
  auto& info = (*all)[key];
  if (info && !still_names(*info, op)) static_cast<void>(info.release());  // signatures refer to it still
  if (!info) info = std::make_unique<OpInfo>(op);
  entry.store(info.get(), std::memory_order_release);
  return *info;
}

void CallWriter::reset() {
  structure.clear();
  literals.clear();
  values.clear();
  operands.clear();
  device = -1;
}

void CallWriter::write_call(OpInfo& info, const torch::jit::Stack& stack, size_t first) {
  begin(info);
  for (size_t i = 0; i < info.args.size(); ++i) write(info, i, stack[first + i]);
  end(info);
}

void CallWriter::begin(const OpInfo& info) {
  structure.push_back(reinterpret_cast<uint64_t>(&info));
  structure.push_back(current_modes());
}

void CallWriter::end(const OpInfo& info) {
  if (device < 0) device = current_device();
  if (info.implicit_random) {
    structure.push_back(word(Tag::ImplicitGenerator));
    operands.push_back({nullptr, default_generator_value(device), true});
  }
}

void CallWriter::write(const OpInfo& info, size_t arg, const c10::IValue& value) {
  if (value.isTensor()) return add(info, arg, value.toTensor());
  if (value.isInt()) return add(info, arg, value.toInt());
  if (value.isBool()) return add(info, arg, value.toBool());
  if (value.isDouble()) return add(info, arg, value.toDouble());
  if (value.isIntList()) return add(info, arg, at::IntArrayRef(value.toIntVector()));
  if (value.isNone()) {
    if (info.random && info.generator[arg]) {
      if (device < 0) device = current_device();
      structure.push_back(word(Tag::Generator));
      operands.push_back({nullptr, default_generator_value(device), true});
      return;
    }
    return structure.push_back(word(Tag::None));
  }
  if (value.isList()) return write_list(info, arg, value);
  if (value.isString()) return write_string(value.toStringRef());
  if (value.isDevice()) {
    const auto target = value.toDevice();
    TORCH_CHECK(target.is_privateuseone(), info.name, ": cannot record for device ", target);
    const int index = target.has_index() ? target.index() : current_device();
    check_device(index);
    set_device(index);
    return structure.push_back(word(Tag::Device));
  }
  if (value.isGenerator()) {
    auto* generator = generator_value(value.toGenerator());
    set_device(generator->device);
    structure.push_back(word(Tag::Generator));
    operands.push_back({nullptr, generator, true});
    return;
  }
  if (value.isComplexDouble()) return add(info, arg, at::Scalar(value.toComplexDouble()));
  if (value.isSymInt()) return write_int(info, info.args[arg], value.toSymInt().guard_int(__FILE__, __LINE__));
  TORCH_CHECK_NOT_IMPLEMENTED(false, info.name, ": remote_accelerator cannot record an argument of type ",
                              value.tagKind());
}

void CallWriter::add(const OpInfo& info, size_t arg, const at::Scalar& value) {
  if (value.isFloatingPoint()) return write_double(info, value.toDouble());
  if (value.isBoolean()) return add(info, arg, value.toBool());
  if (!value.isComplex()) return write_int(info, info.args[arg], value.toLong());
  const auto number = value.toComplexDouble();
  structure.push_back(word(Tag::Complex));
  write_double(info, number.real());
  write_double(info, number.imag());
}

void CallWriter::add(const OpInfo&, size_t, at::IntArrayRef value) {
  structure.push_back(word(Tag::IntList, value.size()));
  literals.append(value.data(), value.size());
}

void CallWriter::add(const OpInfo& info, size_t arg, const at::ITensorListRef& value) {
  structure.push_back(word(Tag::List, value.size()));
  for (const at::Tensor& tensor : value) add(info, arg, tensor);
}

void CallWriter::set_device(int index) {
  if (device < 0) device = index;
  TORCH_CHECK(device == index, "Expected all tensors to be on the same device, but found at least two devices, ",
              c10::Device(c10::kPrivateUse1, device), " and ", c10::Device(c10::kPrivateUse1, index), "!");
}

void CallWriter::write_tensor(const OpInfo& info, const at::Tensor& tensor, bool written) {
  if (!tensor.defined()) return structure.push_back(word(Tag::None));
  auto* impl = tensor.unsafeGetTensorImpl();
  if (!impl->device().is_privateuseone()) {
    if (impl->device().is_cpu() && impl->dim() == 0 && !written) return write_scalar_tensor(tensor);
    fail_device(info, c10::Device(c10::kPrivateUse1, device < 0 ? current_device() : device), impl->device());
  }
  TORCH_CHECK_NOT_IMPLEMENTED(impl->layout() == c10::kStrided && impl->has_storage(), info.name,
                              ": remote_accelerator records strided tensors, not ", impl->layout());
  auto* value = value_of(*impl);
  TORCH_CHECK(value != nullptr, info.name, ": this tensor has no memory on remote_accelerator");
  if (device != value->device) set_device(value->device);
  const auto sizes = impl->sizes();
  const auto strides = impl->strides();
  const uint64_t flags = (impl->is_conj() ? kConj : 0) | (impl->is_neg() ? kNeg : 0) |
                         (impl->is_wrapped_number() ? kWrapped : 0);
  const bool twin = info.tells_twins && is_twin(impl, value);
  structure.push_back(word(Tag::Tensor, uint64_t(c10::typeMetaToScalarType(impl->dtype())) |
                                            uint64_t(sizes.size()) << 8 | (flags | (twin ? kTwin : 0)) << 16));
  literals.push_back(impl->storage_offset());
  literals.append(sizes.data(), sizes.size());
  literals.append(strides.data(), strides.size());
  operands.push_back({impl, value, written, twin});
}

bool CallWriter::is_twin(const c10::TensorImpl* impl, const Value* value) const {
  bool found = false;
  for (const auto& earlier : operands) {
    if (earlier.tensor == impl) return earlier.twin;
    found |= earlier.value == value && earlier.tensor != nullptr && same_geometry(*earlier.tensor, *impl);
  }
  return found;
}

void CallWriter::write_scalar_tensor(const at::Tensor& tensor) {
  const auto plain = tensor.is_conj() || tensor.is_neg() ? tensor.resolve_conj().resolve_neg() : tensor;
  const uint64_t flags = tensor.unsafeGetTensorImpl()->is_wrapped_number() ? kWrapped : 0;
  structure.push_back(word(Tag::ScalarTensor, uint64_t(plain.scalar_type()) | flags << 16));
  int64_t bytes[2] = {0, 0};
  const size_t count = plain.element_size();
  std::memcpy(bytes, plain.data_ptr(), count);
  values.push_back(bytes[0]);
  if (count > sizeof(int64_t)) values.push_back(bytes[1]);
}

void CallWriter::write_int(const OpInfo& info, ArgKind kind, int64_t value) {
  if (kind == ArgKind::Enum) return structure.push_back(word(Tag::Enum, uint64_t(value)));
  if (kind == ArgKind::Scalar && !info.literal_scalars) {
    structure.push_back(word(Tag::IntValue));
    return values.push_back(value);
  }
  structure.push_back(word(Tag::Int));
  literals.push_back(value);
}

void CallWriter::write_double(const OpInfo& info, double value) {
  int64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  structure.push_back(word(info.literal_scalars ? Tag::DoubleLiteral : Tag::Double));
  (info.literal_scalars ? literals : values).push_back(bits);
}

void CallWriter::write_list(const OpInfo& info, size_t arg, const c10::IValue& value) {
  if (value.isTensorList()) {  // the common case, without boxing each element
    const auto list = value.toTensorVector();
    return add(info, arg, at::ITensorListRef(list));
  }
  const auto list = value.to<c10::List<c10::IValue>>();
  structure.push_back(word(Tag::List, list.size()));
  for (size_t i = 0; i < list.size(); ++i) {
    const c10::IValue element = list.get(i);
    if (element.isNone()) {
      structure.push_back(word(Tag::None));
    } else {
      write(info, arg, element);
    }
  }
}

void CallWriter::write_string(std::string_view text) {
  structure.push_back(word(Tag::String, text.size()));
  for (size_t i = 0; i < text.size(); i += sizeof(uint64_t)) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + i, std::min(sizeof bytes, text.size() - i));
    structure.push_back(bytes);
  }
}

uint64_t CallWriter::hash() const {
  uint64_t result = structure.size();
  for (const auto item : structure) result = mix(result, item);
  for (const auto item : literals) result = mix(result, static_cast<uint64_t>(item));
  return result;
}

bool Signature::describes(const CallWriter& call) const {
  return call_literals == call.literals.size() && structure.size() == call.structure.size() &&
         std::equal(call.structure.begin(), call.structure.end(), structure.begin()) &&
         std::equal(call.literals.begin(), call.literals.end(), literals.begin());
}

namespace {

// Ids of structures, outputs' kinds, dtypes and ranks included: these must agree for a program to
// be run again with other literals.
uint32_t intern_structure(const Signature& signature) {
  static auto* ids = new std::unordered_map<std::string, uint32_t>();
  std::string key(reinterpret_cast<const char*>(signature.structure.data()), signature.structure.size() * 8);
  for (const auto* outputs : {&signature.outputs, &signature.resized}) {
    for (const auto& out : *outputs) {
      key += static_cast<char>(out.kind);
      key += static_cast<char>(out.geometry.dtype);
      key += static_cast<char>(out.geometry.size.size());
      key += static_cast<char>(out.geometry.flags);
      key += std::to_string(out.operand);
    }
    key += '/';
  }
  for (const auto count : signature.returns) key += std::to_string(count) + ',';
  key += static_cast<char>(signature.kind);
  return ids->emplace(std::move(key), ids->size() + 1).first->second;
}

}  // namespace

Signature* SignatureCache::find(const CallWriter& call, uint64_t hash) const {
  const size_t mask = table_.size() - 1;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    Signature* found = table_[i];
    if (found == nullptr || (found->hash == hash && found->describes(call))) return found;
  }
}

namespace {

// Estimated to keep an executor busy for longer than it costs to send a program: a contraction of
// some millions of multiplications, or an op on a megabyte.
bool is_heavy(const Signature& signature, const CallWriter& call) {
  constexpr double kMultiplications = 2e6;
  constexpr int64_t kElements = 1 << 18;
  if (signature.op == nullptr) return false;
  double product = 1;
  int64_t elements = 0;
  for (const auto& operand : call.operands) {
    if (operand.tensor == nullptr) continue;
    elements += operand.tensor->numel();
    if (operand.tensor->dim() > 1) product *= static_cast<double>(operand.tensor->numel());
  }
  if (elements >= kElements) return true;
  // |A|·|B|·|C| of a matrix product is (M·K·N)²: bounded from below by the operands alone.
  return signature.op->contraction && product >= kMultiplications * 128;
}

}  // namespace

void SignatureCache::complete(Signature& fresh, const CallWriter& call, uint64_t hash) {
  auto* signature = &fresh;
  signature->hash = hash;
  signature->structure.assign(call.structure.begin(), call.structure.end());
  signature->literals.assign(call.literals.begin(), call.literals.end());
  signature->call_literals = call.literals.size();
  signature->operand_count = call.operands.size();
  for (const auto* outputs : {&signature->outputs, &signature->resized}) {
    for (const auto& out : *outputs) {
      if (out.kind == OutputSpec::Undefined) continue;
      if (out.kind == OutputSpec::Alias && outputs == &signature->outputs) continue;
      const auto& g = out.geometry;
      signature->literals.push_back(g.offset);
      signature->literals.insert(signature->literals.end(), g.size.begin(), g.size.end());
      signature->literals.insert(signature->literals.end(), g.stride.begin(), g.stride.end());
    }
  }
  signature->structure_id = intern_structure(*signature);
  signature->heavy = is_heavy(*signature, call);
}

void SignatureCache::learn(Signature* asked, const CallWriter& call, std::unique_ptr<Signature> answer) {
  if (asked->learned != nullptr) return;
  complete(*answer, call, asked->hash);
  answer->pins = asked->pins = 1;  // they refer to each other: neither is evicted
  asked->learned = answer.get();
  owned_.push_back(std::move(answer));
}

Signature* SignatureCache::insert(const CallWriter& call, uint64_t hash, std::unique_ptr<Signature> signature) {
  complete(*signature, call, hash);
  owned_.push_back(std::move(signature));
  if (owned_.size() * 2 > table_.size()) {
    rebuild(table_.size() * 2);
  } else {
    place(owned_.back().get());
  }
  return owned_.back().get();
}

void SignatureCache::place(Signature* signature) {
  const size_t mask = table_.size() - 1;
  size_t i = signature->hash & mask;
  while (table_[i] != nullptr) i = (i + 1) & mask;
  table_[i] = signature;
}

void SignatureCache::rebuild(size_t size) {
  table_.assign(size, nullptr);
  for (const auto& signature : owned_) {
    if (signature->learned == nullptr) place(signature.get());
  }
}

void SignatureCache::evict() {
  owned_.erase(std::remove_if(owned_.begin(), owned_.end(), [](const auto& s) { return s->pins == 0; }),
               owned_.end());
  rebuild(table_.size());
}

}  // namespace genie
