"""What the contract's tests are given: connected pairs of channels, and threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from genie_core.contracts import Channel, Listener
from genie_core.plugins import manager
from genie_core.settings import Settings

Pair = tuple[Channel, Channel]
Settle = Callable[..., Any]
MAX_MESSAGE = 8 << 30


class Fixtures:
    """Connects through the hooks of the installed plugins; a subclass gives `fresh_url`.

    A transport without listeners gives `make_pair` instead.
    """

    @pytest.fixture
    def fresh_url(self) -> Callable[[], str]:
        """Makes addresses to listen on that nobody listens on yet."""
        raise NotImplementedError("a transport's tests give a fixture `fresh_url` (or `make_pair`)")

    @pytest.fixture
    def settings(self) -> Settings:
        """A client's settings; a client in another process has those of the environment."""
        return Settings.from_env()

    @pytest.fixture
    def listener_settings(self, settings: Settings) -> Settings:
        """A listener's settings, where they differ from a client's."""
        return settings

    @pytest.fixture
    def listen(
        self, fresh_url: Callable[[], str], listener_settings: Settings
    ) -> Iterator[Callable[..., Listener]]:
        """Listens on `url`, or a fresh one; closed after the test."""
        with contextlib.ExitStack() as stack:

            def start(url: str = "", max_message: int = MAX_MESSAGE) -> Listener:
                chosen = attrs.evolve(listener_settings, max_message=max_message)
                hook = manager().hook.genie_open_listener
                listener: Listener | None = hook(url=url or fresh_url(), settings=chosen)
                assert listener is not None, f"no plugin listens on {url}"
                stack.callback(listener.close)
                return listener

            yield start

    @pytest.fixture
    def connect(self, settings: Settings) -> Iterator[Callable[..., Channel]]:
        """Connects to a URL; closed after the test."""
        with contextlib.ExitStack() as stack:

            def start(url: str, max_message: int = MAX_MESSAGE) -> Channel:
                chosen = attrs.evolve(settings, max_message=max_message)
                hook = manager().hook.genie_open_transport
                channel: Channel | None = hook(url=url, settings=chosen)
                assert channel is not None, f"no plugin connects to {url}"
                stack.callback(channel.close)
                return channel

            yield start

    @pytest.fixture
    def accept(self) -> Iterator[Callable[[Listener], Channel]]:
        """Waits for a listener's next client; closed after the test."""
        with contextlib.ExitStack() as stack:

            def start(listener: Listener) -> Channel:
                channel = listener.accept()
                stack.callback(channel.close)
                return channel

            yield start

    @pytest.fixture
    def make_pair(
        self,
        listen: Callable[..., Listener],
        connect: Callable[..., Channel],
        accept: Callable[[Listener], Channel],
    ) -> Callable[..., Pair]:
        """Makes connected pairs of channels, client first; closed after the test."""

        def make(max_message: int = MAX_MESSAGE) -> Pair:
            listener = listen(max_message=max_message)
            client = connect(listener.url, max_message)
            server = accept(listener)
            listener.close()
            return client, server

        return make

    @pytest.fixture
    def pair(self, make_pair: Callable[..., Pair]) -> Pair:
        """One connected pair."""
        return make_pair()

    @pytest.fixture
    def background(self) -> Iterator[Settle]:
        """Starts `function(*args)` on a thread; returns a call that waits for its result."""
        with run_in_background() as start:
            yield start


@contextlib.contextmanager
def run_in_background() -> Iterator[Settle]:
    """Gives a function that starts another on a thread and returns a call for its result.

    That call takes a timeout in seconds and raises what was raised; its `running()` says whether
    the thread is alive.
    """
    threads: list[threading.Thread] = []

    def start(function: Callable[..., Any], *args: Any) -> Settle:
        outcome: dict[str, Any] = {}

        def work() -> None:
            try:
                outcome["value"] = function(*args)
            except BaseException as error:
                outcome["error"] = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        threads.append(thread)

        def result(timeout: float = 30.0) -> Any:
            thread.join(timeout)
            assert not thread.is_alive(), "still running"
            if "error" in outcome:
                raise outcome["error"]
            return outcome["value"]

        result.running = thread.is_alive  # type: ignore[attr-defined]
        return result

    yield start
    for thread in threads:
        thread.join(5.0)
