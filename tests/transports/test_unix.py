"""Unix sockets by themselves: paths, permissions, and what is left behind."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from genie_core.errors import ConnectionFailed, SettingsError
from genie_plugins.transport_tcp.unix import LONGEST, connect, listen

CAP = 1 << 20


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory() as name:  # tmp_path is too long for a socket
        yield Path(name)


@pytest.mark.parametrize("url", ["unix://", "unix:", "unix://run/x", "unix:///", "unix:///a\0b"])
def test_bad_addresses(url):
    with pytest.raises(SettingsError, match=r"unix:///PATH"):
        connect(url, 1, CAP)
    with pytest.raises(SettingsError, match=r"unix:///PATH"):
        listen(url, CAP)


def test_a_path_that_is_too_long(folder):
    longest = f"{folder}/".ljust(LONGEST, "x")
    listen(f"unix://{longest}", CAP).close()
    for use in (lambda url: listen(url, CAP), lambda url: connect(url, 1, CAP)):
        with pytest.raises(SettingsError, match="shorter"):
            use(f"unix://{longest}x")


def test_its_owner_alone_may_connect_and_it_goes_with_the_listener(folder):
    path = folder / "socket"
    listener = listen(f"unix://{path}", CAP)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listener.close()
    assert not path.exists()


def test_a_file_that_is_no_socket_stays(folder):
    path = folder / "data"
    path.write_text("precious")
    with pytest.raises(ConnectionFailed, match="no socket"):
        listen(f"unix://{path}", CAP)
    with pytest.raises(ConnectionFailed, match="refused"):
        connect(f"unix://{path}", 1, CAP)
    assert path.read_text() == "precious"


def test_a_socket_of_a_server_that_died_is_replaced(folder):
    path = folder / "socket"
    code = "import os, sys; from genie_plugins.transport_tcp.unix import listen; "
    code += "listen(sys.argv[1], 1024); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, f"unix://{path}"], check=True)
    assert path.is_socket()
    with pytest.raises(ConnectionFailed, match="refused"):
        connect(f"unix://{path}", 1, CAP)
    listener = listen(f"unix://{path}", CAP)
    connect(listener.url, 1, CAP).close()
    listener.accept().close()
    listener.close()


def test_a_socket_of_another_server_is_not_removed(folder):
    path = folder / "socket"
    listener = listen(f"unix://{path}", CAP)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listener.close()
        assert path.is_socket()


def test_a_folder_that_is_not_there(folder):
    with pytest.raises(ConnectionFailed, match="No such file"):
        listen(f"unix://{folder}/none/socket", CAP)
    with pytest.raises(ConnectionFailed, match="No such file"):
        connect(f"unix://{folder}/none/socket", 1, CAP)


def test_a_listener_that_is_behind_is_waited_for_and_given_up(folder):
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(os.fspath(path))
            with pytest.raises(ConnectionFailed, match=r"0\.2 s"):
                connect(f"unix://{path}", 0.2, CAP)
