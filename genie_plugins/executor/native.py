"""What the host needs of the native module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Store(Protocol):
    """One session's values and programs; used by one thread."""

    def define(
        self,
        program: int,
        slots: int,
        symbols: int,
        bound: list[int],
        kept: list[int],
        tensors: list[list[Any]],
        ops: list[list[Any]],
        tail: bool,
        name: str,
        /,
    ) -> None:
        """Keep a program; control flow finds a region by `name`.

        Raises `ValueError` for one that cannot be replayed.
        """

    def define_rewrite(
        self,
        program: int,
        slots: int,
        tensors: list[list[Any]],
        ops: list[list[Any]],
        origins: list[int],
        once: list[int],
        guards: list[tuple[int, int]],
        tolerance: float,
        /,
    ) -> None:
        """Keep other ops for a program. Raises `ValueError` for what cannot take its place."""

    def forget(self, programs: list[int], /) -> None:
        """Drop programs, with their rewrites; those that are not there are no error."""

    def run(self, payload: bytes, /) -> bytes | None:
        """Replay a program; returns what its tail tells of shapes not known beforehand."""

    def put(self, value: int, data: Buffer, /) -> None:
        """Store raw bytes as `value`."""

    def read(
        self, value: int, dtype: int, size: list[int], stride: list[int], offset: int, flags: int, /
    ) -> Buffer:
        """Return the contiguous bytes of a view. Raises what made the value fail."""

    def free(self, ids: list[int], /) -> None:
        """Drop values."""

    def synchronize(self) -> None:
        """Return when everything before has finished."""

    @property
    def live_values(self) -> int:
        """How many values are held."""

    @property
    def live_bytes(self) -> int:
        """How many bytes they take."""

    @property
    def rewrites(self) -> list[tuple[int, str, str, float, float, float]]:
        """What became of each rewrite: the fields of `protocol.Outcome`."""

    @property
    def restrided(self) -> dict[str, int]:
        """Ops whose real strides were not those that the client had inferred, and how often."""


class Native(Protocol):
    """Makes stores and knows the device's kernels."""

    @property
    def replay_error(self) -> type[Exception]:
        """What a store raises when an op failed: args are the fields of `protocol.Failed`."""

    def store(self, device: str) -> Store:
        """Return an empty store on a torch device."""

    def lacking_ops(self, device: str) -> list[str]:
        """Return the aten ops without a kernel there."""

    def has_op(self, name: str, device: str) -> bool:
        """Say whether an op has a kernel there."""


class NativeReplay:
    """`Native` by the compiled module, which is imported at the first use."""

    @property
    def replay_error(self) -> type[Exception]:
        """What a store raises when an op failed: args are the fields of `protocol.Failed`."""
        from genie_core import _native

        error: type[Exception] = _native.ReplayError
        return error

    def store(self, device: str) -> Store:
        """Return an empty store on a torch device."""
        from genie_core import _native

        store: Store = _native.ValueStore(device)
        return store

    def lacking_ops(self, device: str) -> list[str]:
        """Return the aten ops without a kernel there."""
        from genie_core import _native

        return list(_native.lacking_ops(device))

    def has_op(self, name: str, device: str) -> bool:
        """Say whether an op has a kernel there."""
        from genie_core import _native

        return bool(_native.has_op(name, device))
