"""Programs in files: what a function became, without its Python, for any executor."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import msgspec
import torch

from genie_core import _native, protocol
from genie_core.compat import NAME
from genie_core.dispatcher import dispatcher
from genie_core.errors import CaptureError, SettingsError
from genie_core.graph import GraphBuilder, Semantics
from genie_core.program import encode_graph
from genie_plugins.dynamo.capture import REASON, record, run

MAGIC = b"GENIEPROGRAM\x01\n"
"""The format, and its version: an executor's `ProgramCode` and what of it a caller has to know."""
_DIGEST = 16

Geometry = tuple[int, int, int, list[int], list[int]]
"""dtype, flags, offset, sizes, strides; in elements."""


class Form(msgspec.Struct, frozen=True, array_like=True):
    """Where a run's values go: the fields of `_native.Prepared.form`."""

    slots: tuple[list[bool], list[bool], list[int]]
    inputs: list[tuple[int, int, Geometry]]
    made: list[tuple[int, int]]
    outputs: list[tuple[int, int, Geometry]]
    written: list[int]
    symbols: list[int]


class _File(msgspec.Struct, frozen=True, array_like=True):
    torch: str
    form: Form
    code: bytes


@attrs.define(eq=False)
class SavedProgram:
    """A program with free ends: call it with tensors that lie like those it was made with.

    It holds no weights: they are among its inputs. Tensors of another shape raise `ValueError`.
    """

    form: Form
    code: bytes
    torch_version: str = str(torch.__version__)
    _prepared: dict[int, _native.Prepared] = attrs.field(factory=dict, init=False)

    def __call__(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """Run it on the device that all `tensors` are on; returns its outputs."""
        index = _device_of(tensors)
        session = dispatcher.session(index)
        prepared = self._on(index)
        given = list(tensors)
        if not prepared.fits(given):
            raise ValueError("the program was made for tensors of other shapes, strides or dtypes")
        return session.submit(lambda: run(prepared, given), REASON)

    def _on(self, device: int) -> _native.Prepared:
        if device not in self._prepared:
            prepared = _native.load_prepared(device, msgspec.structs.astuple(self.form))
            name = hashlib.blake2b(self.code, digest_size=16).digest()
            dispatcher.session(device).define(prepared.program, name, self.code)
            self._prepared[device] = prepared
        return self._prepared[device]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, for `load_program`."""
        body = protocol.encode(_File(self.torch_version, self.form, self.code))
        with open(path, "wb") as file:
            file.write(MAGIC + _digest(body) + body)


def make_program(function: Callable[..., Any], *tensors: torch.Tensor) -> SavedProgram:
    """Run `function` on tensors of a device, and make a program of the ops that it ran.

    It returns a tensor, or a list or tuple of them. Its ops may depend on `tensors` alone: hand in
    weights, too. Raises `CaptureError` where it reads values, or takes some from elsewhere.
    """
    index = _device_of(tensors)
    given = list(tensors)

    def made() -> tuple[_native.Sealed | None, tuple[Form, bytes] | None]:
        sealed, (_, prepared) = record(_listed(function), given, given, None)
        if prepared is None or sealed is None:
            return sealed, None
        graph = GraphBuilder(index, sealed, lambda *_: Semantics()).build()
        form = msgspec.convert(prepared.form(), Form)
        return sealed, (form, encode_graph(graph, sealed).code)

    found = dispatcher.session(index).submit(made, REASON)
    if found is None:
        name = getattr(function, "__name__", str(function))
        raise CaptureError(name, "its ops depend on more than the tensors that it was given")
    return SavedProgram(*found)


def load_program(path: str | os.PathLike[str]) -> SavedProgram:
    """Read a program that `SavedProgram.save` wrote. Raises `SettingsError` for any other file."""
    with open(path, "rb") as file:
        content = file.read()
    head = len(MAGIC) + _DIGEST
    body = content[head:]
    if not content.startswith(MAGIC):
        raise _invalid(path, "it is no program of this version of Genie")
    if content[len(MAGIC) : head] != _digest(body):
        raise _invalid(path, "it is damaged")
    try:
        found = msgspec.msgpack.decode(body, type=_File)
        protocol.decode_program(found.code)
        _native.load_prepared(0, msgspec.structs.astuple(found.form))
    except (msgspec.MsgspecError, ValueError, OverflowError, RuntimeError) as error:
        raise _invalid(path, str(error)) from error
    _check_torch(path, found.torch)
    return SavedProgram(found.form, found.code, found.torch)


def _check_torch(path: str | os.PathLike[str], version: str) -> None:
    ours, theirs = (one.split(".")[:2] for one in (str(torch.__version__), version))
    if ours != theirs:
        raise _invalid(path, f"it was made with torch {version}, and this is {torch.__version__}")


def _invalid(path: str | os.PathLike[str], reason: str) -> SettingsError:
    return SettingsError("program file", os.fspath(path), f"{reason}; make it anew with `save`")


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()


def _device_of(tensors: Sequence[torch.Tensor]) -> int:
    found = {tensor.device for tensor in tensors}
    if len(found) != 1 or next(iter(found)).type != NAME:
        raise ValueError(f"a program takes tensors of one {NAME} device")
    return int(next(iter(found)).index)


def _listed(function: Callable[..., Any]) -> Callable[..., list[Any]]:
    def listed(*tensors: torch.Tensor) -> list[Any]:
        with torch.no_grad():
            given = function(*tensors)
        return list(given) if isinstance(given, list | tuple) else [given]

    return listed
