"""Threads, and certificates, for the tests of transports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts import run_in_background

from genie_core.settings import Settings
from genie_plugins.certs.folder import fill


@pytest.fixture
def background() -> Iterator[Callable[..., Any]]:
    """Starts `function(*args)` on a thread; returns a call that waits for its result."""
    with run_in_background() as start:
        yield start


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `genie certs` makes it, for localhost."""
    folder = tmp_path_factory.mktemp("certs")
    fill(folder, ("localhost", "127.0.0.1", "::1"), days=1)
    return folder


@pytest.fixture
def server_settings(certs: Path) -> Settings:
    """A server's: certificate and token."""
    cert, key = str(certs / "server.pem"), str(certs / "server.key")
    return Settings(tls_cert=cert, tls_key=key, token_file=str(certs / "token"))


@pytest.fixture
def client_settings(certs: Path) -> Settings:
    """A client's: whom to trust, and the token."""
    return Settings(tls_ca=str(certs / "ca.pem"), token_file=str(certs / "token"))
