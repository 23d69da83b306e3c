"""Gives torch's control flow its kernels for the device."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from genie_core.compat import higher_order_op
from genie_core.log import get_logger
from genie_core.origin import place_of
from genie_plugins.control_flow import branches, loops, steps

Function = Callable[..., Any]
_log = get_logger("control_flow")
_lock = threading.Lock()
_installed = False


def install() -> None:
    """Register a kernel with each op of control flow that this torch has. Idempotent."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
        steps.register()
        for (module, name), kernel in _KERNELS.items():
            op = higher_order_op(module, name)
            if op is not None:
                key = torch._C.DispatchKey.PrivateUse1
                op.py_impl(key)(partial(kernel, op))


def _cond(_: Any, *args: Any) -> Any:
    return branches.cond(*args)


def _while_loop(op: Any, *args: Any, **_: Any) -> Any:
    return _loop(op, loops.while_loop, *args)


def _stacked(op: Any, *args: Any, **_: Any) -> Any:
    return _loop(op, loops.stacked_while_loop, *args)


def _loop(
    op: Any, kernel: Function, cond_fn: Any, body_fn: Any, carried: Any, more: Any = ()
) -> Any:
    if loops.is_ours(carried):
        return kernel(cond_fn, body_fn, carried, more)
    reason = "it carries what is no tensor of the device"
    return _on_client(op, reason, cond_fn, body_fn, carried, more)


def _scan(op: Any, combine_fn: Any, init: Any, xs: Any, more: Any = ()) -> Any:
    if loops.is_ours(init) and loops.is_ours(xs) and xs and xs[0].shape[0]:
        return loops.scan(combine_fn, init, xs, more)
    return _on_client(op, "it has no row on the device", combine_fn, init, xs, more)


def _map(op: Any, function: Any, xs: Any, more: Any = ()) -> Any:
    if loops.is_ours(xs) and xs[0].shape[0]:
        return loops.map_rows(function, xs, more)
    return _on_client(op, "it has no row on the device", function, xs, more)


def _on_client(op: Any, reason: str, *args: Any) -> Any:
    """Run torch's own kernel, which reads each condition."""
    where = place_of(sys._getframe())
    _log.warning("control_flow.on_client", op=op.name(), reason=reason, where=where)
    return op.py_kernels[torch._C.DispatchKey.CompositeExplicitAutograd](*args)


_KERNELS: dict[tuple[str, str], Function] = {
    ("cond", "cond_op"): _cond,
    ("while_loop", "while_loop_op"): _while_loop,
    ("while_loop", "while_loop_stack_output_op"): _stacked,
    ("scan", "scan_op"): _scan,
    ("map", "map_impl"): _map,
}
