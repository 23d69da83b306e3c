// Tensors that are not strided: a storage and a geometry do not describe them, so they are refused,
// by an error that says what to do.
#include "ops.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace genie {
namespace {

void refuse(const c10::OperatorHandle& op, torch::jit::Stack*) {
  TORCH_CHECK_NOT_IMPLEMENTED(false, c10::toString(op.operator_name()),
                              ": remote_accelerator has strided tensors only, no sparse, quantized or nested ones. Make "
                              "the tensor dense before it is moved there (`.to_dense()`), or keep it on the CPU.");
}

// A transformer's encoder asks before it packs a padded batch into a nested tensor.
bool left_aligned(const at::Tensor&, const at::Tensor&) { return false; }

torch::CppFunction refusal() { return torch::CppFunction::makeFromBoxedFunction<&refuse>(); }

}  // namespace

void register_layouts() {
  using c10::DispatchKey;
  for (const auto key : {DispatchKey::SparsePrivateUse1,
#if GENIE_SPARSE_CSR_KEY
                         DispatchKey::SparseCsrPrivateUse1,
#endif
                         DispatchKey::QuantizedPrivateUse1, DispatchKey::NestedTensorPrivateUse1}) {
    library_of("_", key).fallback(refusal());
  }
  auto& m = library_of("aten", DispatchKey::PrivateUse1);
  m.impl("_nested_tensor_from_mask_left_aligned", TORCH_FN(left_aligned));
  for (const char* name : {"_to_sparse", "_to_sparse.sparse_dim", "_to_sparse_csr", "_to_sparse_csc", "_to_sparse_bsr",
                           "_to_sparse_bsc", "to_mkldnn", "quantize_per_tensor", "quantize_per_channel"}) {
    m.impl(name, refusal());
  }
}

}  // namespace genie
