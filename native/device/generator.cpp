// A generator's steps: seeds and states. The generator itself is a value of the executor's.
#include "core/steps.h"

namespace genie {

void record_seed(Value* generator, uint64_t seed) {
  PseudoCall call(kSeed);
  call.value(generator).number(static_cast<int64_t>(seed));
  record_pseudo(generator->device, call);
}

void record_set_state(Value* generator, const at::Tensor& state_tensor) {
  PseudoCall call(kSetState);
  auto* impl = state_tensor.unsafeGetTensorImpl();
  call.value(generator).literal(impl->numel());
  call.value(value_of(*impl));
  record_pseudo(generator->device, call);
}

at::Tensor record_get_state(Value* generator) {
  PseudoCall call(kGetState);
  call.value(generator);
  call.writer.device = generator->device;
  Signature* signature = nullptr;
  {
    const CoreLock lock;
    signature = pseudo_signature(call.writer, false);
    signature->kind = Signature::AskExecutor;
  }
  return ask_executor(signature, call.writer).at(0).toTensor();
}

}  // namespace genie
