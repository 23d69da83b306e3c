"""What plugins return to the core: the Protocols of channels, listeners and executors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch.fx

Buffer: TypeAlias = "bytes | bytearray | memoryview"
"""Contiguous bytes of any kind; a channel never copies one that it can send as it is."""


@runtime_checkable
class Channel(Protocol):
    """A connected, ordered, reliable pipe of messages; a message is a list of buffers.

    One thread may send while another receives; neither call is safe from two threads at once.
    `url` names the peer; the counters hold bytes (framing included) and whole messages.
    """

    @property
    def url(self) -> str:
        """Address of the peer, as given by the user on the client's side."""

    @property
    def bytes_sent(self) -> int:
        """Bytes sent so far, framing included."""

    @property
    def bytes_received(self) -> int:
        """Bytes received so far, framing included."""

    @property
    def messages_sent(self) -> int:
        """Messages sent so far."""

    @property
    def messages_received(self) -> int:
        """Messages received so far."""

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send one message of `parts`; blocks under back-pressure.

        The buffers may be reused once this returns. Raises `ConnectionLost`.
        """

    def receive(
        self, timeout: float | None = None, into: memoryview | None = None
    ) -> list[memoryview]:
        """Return the next message, waiting at most `timeout` seconds (None: for ever).

        A second part that is exactly as long as `into` (writable bytes) is received there, and
        is `into` in what is returned; that spares a tensor's data a copy.
        Raises `TimeoutError` (the channel stays usable), `ConnectionLost`, or `ProtocolError`
        for garbage or a length past the cap.
        """

    def close(self) -> None:
        """Close both ways; wakes a blocked `receive`. Calling it again does nothing."""


@runtime_checkable
class Listener(Protocol):
    """An address that accepts channels."""

    @property
    def url(self) -> str:
        """The address that clients connect to, the real port filled in."""

    def accept(self) -> Channel:
        """Wait for the next client. Raises `ConnectionLost` once the listener is closed."""

    def close(self) -> None:
        """Stop accepting; wakes a blocked `accept`, keeps open channels. Idempotent."""


@runtime_checkable
class Executor(Protocol):
    """Runs programs on one device for any number of clients, each in a session of its own."""

    @property
    def device(self) -> str:
        """The torch device that programs run on, such as "cpu" or "cuda:0"."""

    def serve(self, channel: Channel) -> None:
        """Serve one client until it leaves; called from one thread a client, several at once.

        A fault of the client's ends its own session only.
        """

    def close(self) -> None:
        """Release what the executor holds. Idempotent."""


class Pass(Protocol):
    """Changes a program's graph into another with the same effect."""

    @property
    def name(self) -> str:
        """What it is switched on and off by."""

    @property
    def tolerance(self) -> float:
        """The most that a result may differ by, of its largest number; 0 is to the bit."""

    def apply(self, graph: torch.fx.Graph) -> int:
        """Edit `graph`, and return in how many places it did."""
