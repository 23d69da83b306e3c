"""The frame around a message: magic, number of parts, length of each part, then the parts.

All numbers are little-endian: 4 bytes magic, u32 count, count x u64 lengths.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from genie_core.errors import ProtocolError

MAGIC = b"GNI1"
TLS = (b"\x15\x03", b"\x16\x03")  # an alert, a handshake
MAX_PARTS = 1 << 16
PREFIX = struct.Struct("<4sI")
LENGTH = 8


def flatten(part: bytes | bytearray | memoryview) -> memoryview:
    """View `part` as plain bytes, without a copy. Raises `ValueError` if it is not contiguous."""
    view = memoryview(part)
    if view.nbytes == 0:
        return memoryview(b"")
    if not view.c_contiguous:
        raise ValueError("a message's parts must be contiguous buffers")
    return view.cast("B")


def header(lengths: Sequence[int], cap: int, url: str) -> bytes:
    """Return the frame's head for parts of `lengths` bytes.

    Raises `ProtocolError` for what the peer would refuse: over `cap` bytes, or too many parts.
    """
    count = len(lengths)
    check_count(count, url)
    check_total(sum(lengths), cap, url)
    return struct.pack(f"<4sI{count}Q", MAGIC, count, *lengths)


def read_count(prefix: bytes | memoryview, url: str) -> int:
    """Return the number of parts that `prefix` (8 bytes) announces. Raises `ProtocolError`."""
    magic, count = PREFIX.unpack(prefix)
    if magic != MAGIC:
        hint = "; it speaks TLS: is one of the addresses tls://?" if magic.startswith(TLS) else ""
        reason = f"expected a frame that starts with {MAGIC!r}, got {magic!r}{hint}"
        raise ProtocolError(reason, url)
    check_count(count, url)
    return int(count)


def read_lengths(table: bytes | memoryview, cap: int, url: str) -> tuple[int, ...]:
    """Return the parts' lengths; nothing is allocated for them yet. Raises `ProtocolError`."""
    lengths = struct.unpack(f"<{len(table) // LENGTH}Q", table)
    check_total(sum(lengths), cap, url)
    return lengths


def check_count(count: int, url: str) -> None:
    """Raise `ProtocolError` for a message of too many parts."""
    if count > MAX_PARTS:
        raise ProtocolError(f"a message of {count} parts is past the cap of {MAX_PARTS}", url)


def check_total(total: int, cap: int, url: str) -> None:
    """Raise `ProtocolError` for a message of more than `cap` bytes."""
    if total > cap:
        raise ProtocolError(
            f"a message of {total} bytes is past the cap of {cap} (set GENIE_MAX_MESSAGE, on both "
            "sides, to allow more)",
            url,
        )
