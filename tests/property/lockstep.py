"""Runs one program on the device and on the CPU, and compares both after every statement."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Any

import attrs
import torch
from conformance.compare import same_bits

from genie_core.errors import RemoteError

_NEW_LINE = "\n"


def data(size: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    """Small numbers in quarters (in whole, for integers), the same in every process."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, size, generator=generator).div(4).to(dtype)


@attrs.define
class Place:
    """The program's variables on one device, and what it has read from there."""

    device: torch.device
    names: dict[str, Any] = attrs.Factory(dict)
    reads: list[Any] = attrs.Factory(list)

    def __attrs_post_init__(self) -> None:
        self.names |= {"torch": torch, "F": torch.nn.functional, "data": data}
        self.names |= {"dev": self.device, "out": self.reads.append}

    def run(self, code: CodeType) -> Exception | None:
        """Execute one statement; what it raised, if it did."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(code, self.names)
        except Exception as error:  # the CPU's and the device's are compared
            return error
        return None

    def tensors(self) -> dict[str, torch.Tensor]:
        """The program's live tensors, and the gradients of its leaves."""
        found = {k: v for k, v in self.names.items() if isinstance(v, torch.Tensor)}
        grads = {f"{k}.grad": _gradient(v) for k, v in found.items()}
        return found | {k: v for k, v in grads.items() if v is not None}


def _gradient(tensor: torch.Tensor) -> torch.Tensor | None:
    # Autograd rebuilds a view's node when it is looked at, and may refuse.
    with contextlib.suppress(RuntimeError):
        return tensor.grad if tensor.is_leaf else None
    return None


class Difference(AssertionError):
    """The device did something else than the CPU."""


def run(program: list[str], device: torch.device) -> None:
    """Run a program in lockstep; raise `Difference` at the first statement that differs."""
    cpu, other = Place(torch.device("cpu")), Place(device)
    torch.manual_seed(0)
    for statement in program:
        code = compile(statement, statement, "exec")
        before = torch.get_rng_state()
        want = cpu.run(code)
        if device.type == "cpu":  # a rehearsal: one generator serves both
            torch.set_rng_state(before)
        got = other.run(code)
        if want is not None and _was_late(want, got):
            # Only the executor knew; what it failed to make differs from here on.
            _check(statement, lambda: _deferred(want, got, other))  # noqa: B023
            return
        _check(statement, lambda: _errors(want, got))  # noqa: B023
        if want is not None and ("out=" in statement or "_foreach" in statement):
            return  # how much of its results a failed op has written is nobody's promise
        _check(statement, lambda: _reads(cpu, other))
        _check(statement, lambda: _metadata(cpu.tensors(), other.tensors()))
    _check("the end", lambda: _values(cpu.tensors(), other.tensors()))


def _check(statement: str, compare: Callable[[], str]) -> None:
    problem = compare()
    if problem:
        raise Difference(f"{statement}: {problem}")


def _errors(want: Exception | None, got: Exception | None) -> str:
    if want is None and got is None:
        return ""
    left, right = _error(want), _error(got)
    return "" if left == right else f"the CPU: {left}; the device: {right}"


# Only a kernel knows; what follows in the statement may object before it runs.
_KERNEL = re.compile(r"not implemented for|Sort does not support")
_AUTOGRAD = "does not support automatic differentiation"  # likewise


def _was_late(want: Exception, got: Exception | None) -> bool:
    if got is None or isinstance(got, RemoteError):
        return True
    return _AUTOGRAD in str(got) or _KERNEL.search(str(want)) is not None


def _deferred(want: Exception, got: Exception | None, other: Place) -> str:
    """That a read says what the CPU said at once (of an empty tensor there is nothing to read)."""
    said = _error(want).partition(": ")[2]
    if got is not None:
        return "" if not isinstance(got, RemoteError) or said in str(got) else _errors(want, got)
    for tensor in other.tensors().values():
        try:
            tensor.detach().cpu()
        except RemoteError as error:
            if said in str(error):
                return ""
    empty = any(tensor.numel() == 0 for tensor in other.tensors().values())
    return "" if empty else f"the CPU: {_error(want)}; the device says nothing, even when read"


def _error(error: Exception | None) -> str:
    """The type of an error and what it says, without what must differ."""
    if error is None:
        return "no error"
    text = str(error).partition(_NEW_LINE)[0].replace("remote_accelerator:0", "cpu")
    text = re.sub(r"PrivateUse1|remote_accelerator", "CPU", text)
    text = re.sub(r"torch\.(\w+)Tensor", r"CPU\1Type", text)
    return f"{type(error).__name__}: {text}"


def _reads(cpu: Place, other: Place) -> str:
    if len(cpu.reads) != len(other.reads):
        return f"{len(other.reads)} reads, not {len(cpu.reads)}"
    pairs = list(zip(cpu.reads, other.reads, strict=True))
    cpu.reads.clear()
    other.reads.clear()
    return next((problem for problem in (_read(*pair) for pair in pairs) if problem), "")


def _read(want: Any, got: Any) -> str:
    if isinstance(want, torch.Tensor):
        return _differ("", want, got.cpu())
    return "" if repr(want) == repr(got) else f"read {got!r}, not {want!r}"


def _differ(name: str, want: torch.Tensor, got: torch.Tensor) -> str:
    want, got = want.detach().resolve_conj().resolve_neg(), got.detach()
    if want.shape == got.shape and want.dtype == got.dtype and same_bits(want, got):
        return ""
    return f"{name or 'the value'} is {got.tolist()}, not {want.tolist()}"


def _writes(tensor: torch.Tensor) -> int:
    """How often a tensor was written to since the program has it."""
    return int(tensor._version - tensor.__dict__.setdefault("_first_version", tensor._version))


def _made_by(tensor: torch.Tensor) -> str:
    """The node that made a tensor, those told alike that torch chooses by device."""
    name = type(tensor.grad_fn).__name__
    # Torch 2.15 takes `x[i] = 2` for a fill where `i` is on the device of `x`, else for a put.
    name = re.sub(r"^IndexFillBackward.*", "IndexPutBackward0", name)
    # Some accelerators copy where the CPU fills, and so do we.
    return re.sub(r"FillBackward.*", "CopyBackwards", name)


_FACTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "dtype": lambda t: t.dtype,
    "shape": lambda t: tuple(t.shape),
    "stride": lambda t: t.stride(),
    "offset": lambda t: t.storage_offset(),
    "memory": lambda t: t.untyped_storage().nbytes(),
    "requires_grad": lambda t: t.requires_grad,
    "is_leaf": lambda t: t.is_leaf,
    "grad_fn": _made_by,
    "is_conj": lambda t: t.is_conj(),
    "is_neg": lambda t: t.is_neg(),
    "is_contiguous": lambda t: t.is_contiguous(),
    "is_view": lambda t: t._is_view(),
    "version": _writes,
}


def _fact(of: Callable[[torch.Tensor], Any], tensor: torch.Tensor) -> Any:
    try:
        return of(tensor)
    except RuntimeError as error:
        return _error(error)


def _metadata(want: dict[str, torch.Tensor], got: dict[str, torch.Tensor]) -> str:
    if want.keys() != got.keys():
        return f"the device has {sorted(got)}, not {sorted(want)}"
    for name, tensor in want.items():
        for fact, of in _FACTS.items():
            left, right = _fact(of, tensor), _fact(of, got[name])
            if left != right:
                return f"{fact} of {name} is {right}, not {left}"
    left, right = _aliases(want), _aliases(got)
    return "" if left == right else f"these share memory: {right}, not {left}"


def _aliases(tensors: dict[str, torch.Tensor]) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(tensor.untyped_storage()._cdata, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _values(want: dict[str, torch.Tensor], got: dict[str, torch.Tensor]) -> str:
    for name, tensor in want.items():
        try:
            problem = _differ(name, tensor, got[name].detach().cpu())
        except RemoteError as error:
            problem = f"reading {name}: {error}"
        if problem:
            return problem
    return ""
