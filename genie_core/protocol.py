"""The typed messages between a session and its executor.

One transport message is a list of buffers. The first is the msgpack encoding of ``list[Request]``
(client to executor) or of one :data:`Reply` (executor to client); the others are raw bytes,
consumed in order by the :class:`Put` requests of the list, or carried by a :class:`Data` reply.
Requests are handled strictly in order. The hot payloads (:class:`Run`, :class:`Outputs`) are
opaque here: the native recorder writes them and the native replay reads them, with every length
checked.
"""

from __future__ import annotations

from typing import Any

import msgspec

PROTOCOL = 1
MOST_PROGRAMS = 1 << 16  # that a session may have defined at a time


class _Message(msgspec.Struct, frozen=True, gc=False, tag=True, array_like=True):
    """Base of all messages: a tagged, positional msgpack array."""


class Hello(_Message, frozen=True):
    """Opens a session. Answered by :class:`Welcome` or :class:`Failed`."""

    protocol: int
    torch: str
    threads: int = 0


class Define(_Message, frozen=True):
    """Names a program for this session. No reply.

    ``code`` is the msgpack of :class:`ProgramCode`, ``rewrite`` that of :class:`Rewrite` or empty.
    """

    program: int
    name: bytes
    code: bytes
    rewrite: bytes = b""


class Forget(_Message, frozen=True):
    """Drops programs. No reply."""

    programs: list[int]


class Run(_Message, frozen=True):
    """Replays a program on the values that ``payload`` names. Answered only when ``reply``."""

    payload: bytes
    reply: bool = False


class Put(_Message, frozen=True):
    """Stores one data part as value ``id``. No reply."""

    id: int


class Read(_Message, frozen=True):
    """Reads a strided view of value ``id``; sizes in elements. Answered by :class:`Data`."""

    id: int
    dtype: int
    size: list[int]
    stride: list[int]
    offset: int
    flags: int


class Free(_Message, frozen=True):
    """Drops values. No reply."""

    ids: list[int]


class Sync(_Message, frozen=True):
    """Answered by :class:`Done` when everything before it has finished."""


class Supports(_Message, frozen=True):
    """Asks whether the executor can run ``op`` (``namespace::name.overload``)."""

    op: str


class Rehearse(_Message, frozen=True):
    """Asks what an op gives for tensors like these. Answered by :class:`Described`.

    A tensor is ``{"tensor": [dtype, size, stride]}``, a dtype ``{"dtype": code}``, the executor's
    device ``{"device": 0}``; lists and plain values are what they are.
    """

    op: str
    args: list[Any]
    kwargs: dict[str, Any]


class Memory(_Message, frozen=True):
    """Asks for the device's memory, after what is unused was given back if ``release``."""

    release: bool = False


class Report(_Message, frozen=True):
    """Asks what became of rewrites and of inferred strides. Answered by :class:`Reported`."""


class Bye(_Message, frozen=True):
    """Ends the session in good order. No reply."""


class Welcome(_Message, frozen=True):
    """The executor's side of the handshake; ``lacks`` lists aten ops without a kernel there."""

    protocol: int
    torch: str
    device: str
    lacks: list[str]
    session: int


class Data(_Message, frozen=True):
    """One data part follows."""


class Outputs(_Message, frozen=True):
    """What the last op of a program gave, when its shape was not known beforehand."""

    payload: bytes


class Done(_Message, frozen=True):
    """An answer without data."""

    value: bool = True


class Described(_Message, frozen=True):
    """The answer to :class:`Rehearse`: dtype, sizes, strides and offset of each tensor."""

    outputs: list[tuple[int, list[int], list[int], int]]


class MemoryInfo(_Message, frozen=True):
    """The answer to :class:`Memory`: bytes of the executor's device."""

    free: int
    total: int


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of a program's rewrite.

    ``state``: unchecked, accepted or refused, and ``reason`` why refused. ``error``: the largest
    difference, of the largest number of its tensor. The seconds are those of the run in which both
    were compared.
    """

    program: int
    state: str
    reason: str
    error: float
    seconds_before: float
    seconds_after: float


class Reported(_Message, frozen=True):
    """The answer to :class:`Report`.

    ``restrided``: how often an op's real strides were not those inferred.
    """

    rewrites: list[Outcome]
    restrided: dict[str, int]


class Failed(_Message, frozen=True):
    """What went wrong on the executor.

    ``kind`` is an exception's name; ``program`` and ``index`` find the op.
    """

    kind: str
    message: str
    op: str = ""
    program: int = -1
    index: int = -1


Programs = Define | Forget | Run
Values = Put | Read | Free | Sync
Request = Hello | Programs | Values | Supports | Rehearse | Memory | Report | Bye
Reply = Welcome | Data | Outputs | Done | Described | MemoryInfo | Reported | Failed


class ProgramCode(msgspec.Struct, frozen=True, array_like=True):
    """A program as it travels; :mod:`genie_core.program` documents the nested forms.

    ``slots`` counts the values it touches, ``symbols`` the lifted literals, ``kept`` lists the new
    slots that outlive a run by default. ``tensors`` and ``ops`` are checked one by one by the
    native replay when the program is defined.
    """

    slots: int
    symbols: int
    bound: list[int]
    kept: list[int]
    tensors: list[list[Any]]
    ops: list[list[Any]]
    tail: bool = False


class Rewrite(msgspec.Struct, frozen=True, array_like=True):
    """Other ops with a program's effect, on its slots and on more of their own.

    The executor compares both in a first run, and prefers the rewrite where no tensor differs by
    more than ``tolerance`` of its largest number. ``origins``: per op, the program's op that a
    failure is told of. ``once``: ops that give the same in every run. ``guards``: symbols, with the
    numbers that it was made for. ``passes``: who made it, and in how many places.
    """

    slots: int
    tensors: list[list[Any]]
    ops: list[list[Any]]
    origins: list[int]
    once: list[int]
    guards: list[tuple[int, int]]
    tolerance: float
    passes: dict[str, int]


encoder = msgspec.msgpack.Encoder()
encode = encoder.encode
decode_requests = msgspec.msgpack.Decoder(list[Request]).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
decode_program = msgspec.msgpack.Decoder(ProgramCode).decode
decode_rewrite = msgspec.msgpack.Decoder(Rewrite).decode
