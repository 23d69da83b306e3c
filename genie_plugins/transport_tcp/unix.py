"""Unix sockets: addresses of the form `unix:///path`, for processes of one machine and user."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from functools import partial

from genie_core.errors import ConnectionFailed, SettingsError
from genie_plugins.transport_tcp.channel import StreamChannel
from genie_plugins.transport_tcp.listener import BACKLOG, BoundSocket, SocketListener
from genie_plugins.transport_tcp.stream import SocketStream

LONGEST = 107  # bytes of a path: the kernel's limit


def parse(url: str, variable: str) -> str:
    """Return the path of `unix:///path`. Raises `SettingsError`, naming `variable`."""
    path = url.removeprefix("unix://")
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise SettingsError(variable, url, "give unix:///PATH, such as unix:///run/genie.sock")
    if len(os.fsencode(path)) > LONGEST:
        reason = f"a socket's path has {LONGEST} bytes at most; give a shorter one"
        raise SettingsError(variable, url, reason)
    return path


def connect(url: str, timeout: float, cap: int) -> StreamChannel:
    """Connect to `url` within `timeout` seconds. Raises `SettingsError` or `ConnectionFailed`."""
    path = parse(url, "GENIE_DEVICES")
    sock = socket.socket(socket.AF_UNIX)
    try:
        _connect(sock, path, time.monotonic() + timeout)
        return StreamChannel(SocketStream(sock), url, cap)
    except OSError as error:
        sock.close()
        late = isinstance(error, BlockingIOError)
        reason = f"no answer within {timeout:g} s" if late else error.strerror or str(error)
        raise ConnectionFailed(url, reason) from error


def listen(url: str, cap: int) -> SocketListener:
    """Make a socket at `url` that its owner alone may use, and listen.

    A socket there that nobody listens on any more is replaced. Raises `SettingsError` for a bad
    address, `ConnectionFailed` for one that is taken or cannot be made.
    """
    path = parse(url, "URL")
    sock = socket.socket(socket.AF_UNIX)
    try:
        _remove_stale(path, url)
        sock.bind(path)
        os.chmod(path, 0o600)  # nobody can connect before the next line
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConnectionFailed(url, f"cannot bind it: {error.strerror or error}") from error
    except ConnectionFailed:
        sock.close()
        raise
    greet = partial(_greet, url=url, cap=cap)
    return SocketListener(BoundSocket(sock, url), greet, partial(_remove, path, _identity(path)))


def _greet(sock: socket.socket, _: object, *, url: str, cap: int) -> StreamChannel:
    return StreamChannel(SocketStream(sock), url, cap)


def _connect(sock: socket.socket, path: str, deadline: float) -> None:
    sock.settimeout(0)  # the kernel's own wait for a listener that is behind has no limit
    while True:
        try:
            return sock.connect(path)
        except BlockingIOError:  # as many wait as the listener lets
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _remove_stale(path: str, url: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConnectionFailed(url, "cannot bind it: a file that is no socket is there")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise ConnectionFailed(url, "cannot bind it: somebody listens there already")


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _remove(path: str, identity: tuple[int, int]) -> None:
    """Remove a socket of ours, and not one that another process has put there since."""
    with contextlib.suppress(OSError):
        if _identity(path) == identity:
            os.unlink(path)
