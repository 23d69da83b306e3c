"""What an op's outputs look like: its meta kernel, then FakeTensor, then ask the executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import genie_core

if TYPE_CHECKING:
    from genie_core._native import OpCall


@genie_core.hookimpl(trylast=True)  # a third party's rule for its op comes first
def genie_infer_outputs(call: OpCall) -> Any:
    """Infer by the op's own meta kernel (native), else under FakeTensor."""
    from genie_core import _native
    from genie_plugins.shape_inference.refused import is_refused
    from genie_plugins.shape_inference.unreliable import has_out, is_unreliable

    if is_unreliable(call) or is_refused(call):
        if _native.in_region(call.device):
            from genie_plugins.shape_inference.rehearsal import rehearse

            return rehearse(call)
        # How an `out=` is resized cannot be learnt: it is the one argument that differs next time.
        return None if has_out(call.name) else call.ask_once()
    specs = call.infer_meta()
    if specs is not None:
        return specs
    if call.name.startswith("aten::_foreach_"):  # sizes that no value decides
        return call.ask_once()
    from genie_plugins.shape_inference.fake import infer_fake

    return infer_fake(call)
