// What the last op of a program gave, when its shape was not known beforehand.
#include "frame.h"

#include <cstring>

namespace genie {
namespace {

void encode_geometry(Encoder& out, const at::Tensor& tensor) {
  out.varint(static_cast<uint64_t>(tensor.scalar_type()));
  out.varint((tensor.is_conj() ? kConj : 0) | (tensor.is_neg() ? kNeg : 0));
  out.varint(static_cast<uint64_t>(tensor.dim()));
  for (const auto size : tensor.sizes()) out.varint_signed(size);
  for (const auto stride : tensor.strides()) out.varint_signed(stride);
  out.varint_signed(tensor.storage_offset());
  out.varint(tensor.storage().nbytes());
}

}  // namespace

// Operand numbers count the tensors of the call in flat order, as the recorder does.
std::string Replayer::encode_tail(Frame& frame, const ReplayOp& op, const torch::jit::Stack& stack) {
  Encoder out;
  uint64_t next_id = frame.run.base;
  std::vector<uint32_t> operands;
  const std::function<void(const ReplayArg&)> collect = [&](const ReplayArg& arg) {
    if (arg.kind == ReplayArg::Tensor || arg.kind == ReplayArg::Generator) {
      operands.push_back(arg.kind == ReplayArg::Tensor ? arg.index : ~0U);
    }
    for (const auto& item : arg.items) collect(item);
  };
  for (const auto& arg : op.args) collect(arg);
  const std::function<void(const c10::IValue&)> encode = [&](const c10::IValue& item) {
    if (item.isTensor()) {
      auto tensor = with_memory(item.toTensor());
      if (!tensor.defined()) return out.varint(1);
      TORCH_CHECK(tensor.layout() == c10::kStrided, "the op gave a ", tensor.layout(), " tensor, which a session cannot hold");
      for (size_t i = 0; i < operands.size(); ++i) {
        if (operands[i] == ~0U || !frame.tensors[operands[i]].is_same(tensor)) continue;
        out.varint(6);
        out.varint(i);
        return encode_geometry(out, tensor);
      }
      for (const auto slot : op.read_slots) {  // a value of its own, even where the op gave a view
        if (frame.slots[slot].storage && frame.slots[slot].storage.is_alias_of(tensor.storage())) tensor = tensor.clone();
      }
      TORCH_CHECK(tensor.layout() == c10::kStrided, "the op gave a ", tensor.layout(), " tensor, which a session cannot hold");
      if (tensor._is_zerotensor()) tensor = at::zeros_like(tensor);  // it has no memory
      out.varint(0);
      encode_geometry(out, tensor);
      return store_.set(next_id++, {tensor.storage(), {}, nullptr, {}});
    }
    if (item.isInt()) return out.varint(2), out.varint_signed(item.toInt());
    if (item.isDouble()) {
      const double number = item.toDouble();
      uint64_t bits = 0;
      std::memcpy(&bits, &number, sizeof bits);
      return out.varint(3), out.fixed(bits);
    }
    if (item.isBool()) return out.varint(4), out.varint(item.toBool());
    TORCH_CHECK(item.isTensorList(), op.name, " gave a ", item.tagKind(), ", which a session cannot return");
    const auto list = item.toTensorVector();
    out.varint(5);
    out.varint(list.size());
    for (const auto& tensor : list) encode(tensor);
  };
  out.varint(next_id);
  out.varint(stack.size());
  for (const auto& item : stack) encode(item);
  std::vector<size_t> resized;  // not every op returns what it writes to
  for (size_t i = 0; i < operands.size(); ++i) {
    if (operands[i] == ~0U || !frame.tensors[operands[i]].defined()) continue;
    const auto& tensor = frame.tensors[operands[i]];
    if (tensor.sizes() != at::IntArrayRef(frame.geometry(operands[i]).size)) resized.push_back(i);
  }
  out.varint(resized.size());
  for (const auto i : resized) {
    out.varint(i);
    encode_geometry(out, frame.tensors[operands[i]]);
  }
  return out.take();
}

}  // namespace genie
