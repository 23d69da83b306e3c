"""A shared secret: read from a file, shown by the client before anything else.

A client sends 4 bytes magic, u16 length (little-endian) and the token, which may be empty; the
server answers with one byte: 1 for "come in", 0 for "no".
"""

from __future__ import annotations

import hmac
import os
import socket
import stat
import struct
import time
from pathlib import Path

from genie_core.errors import SettingsError
from genie_core.log import get_logger

MAGIC = b"GNT1"
SHORTEST, LONGEST = 16, 4096
_HEAD = struct.Struct("<4sH")
_YES, _NO = b"\x01", b"\x00"
_log = get_logger("tcp")


class Denied(Exception):
    """The peer showed no token, or a wrong one; says which, and never the token."""


def read_token(path: str) -> bytes:
    """Return the token in the file at `path`, without white space around it.

    Raises `SettingsError` for a file that cannot be read, or no token of 16 to 4096 bytes.
    """
    try:
        token = Path(path).read_bytes().strip()
        mode = os.stat(path).st_mode
    except OSError as error:
        raise SettingsError("GENIE_TOKEN_FILE", path, error.strerror or str(error)) from error
    if not SHORTEST <= len(token) <= LONGEST:
        reason = f"give a file with a token of {SHORTEST} to {LONGEST} bytes"
        raise SettingsError("GENIE_TOKEN_FILE", path, reason)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("token.readable", path=path, remedy=f"others can read it: chmod 600 {path}")
    return token


def show(sock: socket.socket, token: bytes) -> bool:
    """Show `token` to the server; whether it lets us in. Raises `OSError`."""
    sock.sendall(_HEAD.pack(MAGIC, len(token)) + token)
    answer = sock.recv(1)
    if not answer:
        raise ConnectionError("it closed the connection")
    return answer == _YES


def check(sock: socket.socket, wanted: bytes, deadline: float) -> None:
    """Read a client's token, and answer; any will do if none is `wanted`.

    Raises `Denied`, or `OSError` (`TimeoutError` at the `deadline`, of `time.monotonic()`).
    """
    magic, length = _HEAD.unpack(_exactly(sock, _HEAD.size, deadline))
    if magic != MAGIC or length > LONGEST:
        raise Denied("it showed no token as a Genie client does")
    token = _exactly(sock, length, deadline)
    if wanted and not hmac.compare_digest(token, wanted):
        sock.sendall(_NO)
        raise Denied("a wrong token" if token else "no token")
    sock.sendall(_YES)


def _exactly(sock: socket.socket, count: int, deadline: float) -> bytes:
    data = b""
    while len(data) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no token in time")
        sock.settimeout(left)
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("it closed the connection")
        data += more
    return data
