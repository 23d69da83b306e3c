#include "output.h"

#include <cstring>

namespace genie {
namespace {

at::Tensor tensor_of(c10::TensorImpl* impl) {
  return at::Tensor(c10::intrusive_ptr<c10::TensorImpl>::reclaim_copy(impl));
}

at::Tensor make_output(const OutputSpec& spec, int device) {
  const auto& g = spec.geometry;
  return make_view_unchecked(make_storage(spec.nbytes, device), c10::DispatchKey::PrivateUse1, g.dtype, g.flags,
                             g.offset, g.size, g.stride);
}

OutputSpec decode_spec(Decoder& in) {
  OutputSpec spec;
  auto& g = spec.geometry;
  g.dtype = static_cast<at::ScalarType>(in.varint());
  g.flags = static_cast<uint8_t>(in.varint());
  const size_t rank = in.count();
  for (size_t i = 0; i < rank; ++i) g.size.push_back(in.varint_signed());
  for (size_t i = 0; i < rank; ++i) g.stride.push_back(in.varint_signed());
  g.offset = in.varint_signed();
  spec.nbytes = in.varint();
  return spec;
}

}  // namespace

void set_geometry(c10::TensorImpl* impl, const OutputSpec& spec) {
  const auto& storage = impl->unsafe_storage();
  if (spec.nbytes > storage.nbytes()) {
    resize_value(*value_of(storage), spec.nbytes);
    storage.unsafeGetStorageImpl()->set_nbytes(spec.nbytes);
  }
  impl->set_sizes_and_strides(spec.geometry.size, spec.geometry.stride, spec.geometry.offset);
}

void make_outputs(const Signature& signature, const CallWriter& call, Results& flat) {
  for (const auto& spec : signature.outputs) {
    if (spec.kind == OutputSpec::New) {
      flat.push_back(make_output(spec, call.device));
    } else {
      flat.emplace_back();
    }
  }
}

// A reference to a tensor that Python holds costs it the GIL: taken only where somebody needs one.
void fill_aliases(const Signature& signature, const CallWriter& call, Results& flat) {
  for (size_t i = 0; i < flat.size(); ++i) {
    const auto& spec = signature.outputs[i];
    if (spec.kind == OutputSpec::Alias) flat[i] = tensor_of(call.operands[spec.operand].tensor);
  }
}

void push_results(const Signature& signature, Results& flat, torch::jit::Stack* stack) {
  size_t next = 0;
  for (const int count : signature.returns) {
    if (count < 0) {
      stack->emplace_back(std::move(flat[next++]));
    } else {
      stack->emplace_back(std::vector<at::Tensor>(flat.begin() + next, flat.begin() + next + count));
      next += count;
    }
  }
}

c10::TensorImpl* decode_operand(Decoder& in, const CallWriter& call) {
  const auto operand = in.varint();
  const auto spec = decode_spec(in);
  TORCH_CHECK_VALUE(operand < call.operands.size() && call.operands[operand].tensor != nullptr, "bad operand");
  set_geometry(call.operands[operand].tensor, spec);
  return call.operands[operand].tensor;
}

c10::IValue decode_result(Decoder& in, const CallWriter& call, uint64_t& next_id) {
  switch (in.varint()) {
    case 0: {
      const auto spec = decode_spec(in);
      auto tensor = make_output(spec, call.device);
      auto* value = value_of(*tensor.unsafeGetTensorImpl());
      value->id = next_id++;
      value->materialized = true;
      return tensor;
    }
    case 1:
      return at::Tensor();
    case 2:
      return in.varint_signed();
    case 3: {
      const uint64_t bits = in.fixed();
      double number = 0;
      std::memcpy(&number, &bits, sizeof number);
      return number;
    }
    case 4:
      return in.varint() != 0;
    case 5: {
      std::vector<at::Tensor> list(in.count());
      for (auto& item : list) item = decode_result(in, call, next_id).toTensor();
      return list;
    }
    case 6:  // an operand, with the geometry that it has now
      return tensor_of(decode_operand(in, call));
    default:
      TORCH_CHECK_VALUE(false, "the executor sent an unknown kind of result");
  }
}

std::unique_ptr<Signature> describe_results(const Signature& asked, const CallWriter& call,
                                            const std::vector<c10::IValue>& results) {
  auto answer = std::make_unique<Signature>();
  answer->op = asked.op;
  const auto describe = [&](const at::Tensor& tensor) {
    OutputSpec spec;
    if (!tensor.defined()) {
      spec.kind = OutputSpec::Undefined;
    } else {
      spec.geometry = geometry_of(tensor);
      spec.nbytes = tensor.storage().nbytes();
      for (size_t i = 0; i < call.operands.size(); ++i) {
        if (call.operands[i].tensor != tensor.unsafeGetTensorImpl()) continue;
        spec.kind = OutputSpec::Alias;
        spec.operand = static_cast<int>(i);
      }
    }
    answer->outputs.push_back(spec);
  };
  for (const auto& result : results) {
    if (result.isTensor()) {
      answer->returns.push_back(-1);
      describe(result.toTensor());
    } else if (result.isTensorList()) {
      const auto list = result.toTensorVector();
      answer->returns.push_back(static_cast<int>(list.size()));
      for (const auto& tensor : list) describe(tensor);
    } else {
      return nullptr;
    }
  }
  return answer;
}

}  // namespace genie
