"""One device's conversation with its executor: values, programs, frees, errors."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs
import msgspec
import torch

from genie_core import _native, protocol
from genie_core.errors import (
    CaptureError,
    ConnectionFailed,
    ConnectionLost,
    GenieError,
    ProtocolError,
    RemoteError,
    SettingsError,
)
from genie_core.graph import GraphBuilder, Semantics
from genie_core.log import get_logger
from genie_core.origin import place_of
from genie_core.program import EncodedProgram, encode_graph
from genie_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from genie_core.contracts import Buffer, Channel
    from genie_core.plugins import PluginManager

Result = TypeVar("Result")
SMALL = 64 << 10  # bytes: below this, data waits for the next message instead of being its own
MANY = 64  # small parts in one message
_log = get_logger("session")

_NO_VALUES = (
    "it wants a value while a branch or a loop's body of torch.cond, while_loop, scan or map is "
    "recorded, which has none yet. Decide there with torch.where or another torch.cond"
)

_EAGER_ERRORS: dict[str, type[Exception]] = {
    "IndexError": IndexError,
    "ValueError": ValueError,
    "TypeError": TypeError,
    "NotImplementedError": NotImplementedError,
    "RuntimeError": RuntimeError,
    "LinAlgError": torch.linalg.LinAlgError,  # type: ignore[attr-defined]
    "OutOfMemoryError": getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError),
}


class Session:
    """Sends a device's programs and reads its values, in order, over one channel.

    Requests without a reply wait in an outbox and travel with the next one that must go, so that
    a step whose result is read is one message each way.
    """

    observers: ClassVar[int] = 0
    """How many want the hook `genie_flushed` called."""

    def __init__(self, device: int, url: str, channel: Channel, plugins: PluginManager) -> None:
        self.url = url
        self.executor_device = "cpu"
        self.hook = plugins.hook
        self._plugins = plugins
        self._device = device
        self._channel = channel
        self._lock = threading.RLock()
        self._outbox: list[protocol.Request] = []
        self._parts: list[Buffer] = []
        self._received: list[memoryview] = []
        self._lacks: frozenset[str] = frozenset()
        self._supported: dict[str, bool] = {}
        self._semantics: dict[int, list[Semantics]] = {}
        self._regions: dict[int, EncodedProgram] = {}
        self._lost: ConnectionLost | None = None
        self._flushes: Counter[str] = Counter()
        self._round_trips = 0
        self.waited = 0.0  # seconds from messages to their replies
        self._bytes_before = (0, 0)

    @classmethod
    def open(cls, device: int, url: str, plugins: PluginManager) -> Session:
        """Connect to `url` and shake hands.

        Raises `ConnectionFailed`, `SettingsError` for what is no address, or `ProtocolError` for a
        peer of another protocol or torch.
        """
        settings = Settings.from_env()  # a bad variable is named before anything else happens
        scheme, found, _ = url.partition("://")
        if not found:
            raise SettingsError("address", url, "give one such as tcp://host:7070 or inproc://")
        channel = plugins.hook.genie_open_transport(url=url, settings=settings)
        if channel is None:
            reason = f"no transport plugin opens {scheme}:// addresses; see `genie plugins`"
            raise ConnectionFailed(url, reason)
        session = cls(device, url, channel, plugins)
        try:
            session._greet(settings.connect_timeout)
            _native.limit_programs(device, settings.max_programs)
        except BaseException:
            channel.close()
            raise
        return session

    def _greet(self, timeout: float) -> None:
        hello = protocol.Hello(protocol.PROTOCOL, str(torch.__version__), torch.get_num_threads())
        try:
            welcome = self._ask(hello, protocol.Welcome, timeout)
        except TimeoutError:
            raise ConnectionFailed(self.url, f"no answer within {timeout:g} s") from None
        self._check(hello, welcome)
        self.executor_device = welcome.device
        self._lacks = frozenset(welcome.lacks)
        _log.info("session.opened", url=self.url, device=welcome.device, torch=welcome.torch)
        self._tell("genie_session_opened", url=self.url)

    def _check(self, hello: protocol.Hello, welcome: protocol.Welcome) -> None:
        """Raise `ProtocolError` for an executor of another version that did not refuse us."""
        ours, theirs = (version.split(".")[:2] for version in (hello.torch, welcome.torch))
        if hello.protocol != welcome.protocol or ours != theirs:
            raise ProtocolError(
                f"the executor speaks protocol {welcome.protocol} and runs torch {welcome.torch}, "
                f"this client protocol {hello.protocol} and torch {hello.torch}",
                self.url,
            )

    def supports(self, op: str) -> bool:
        """Whether the executor can run `op`; asked once for ops outside aten."""
        if op.startswith("aten::"):
            return op not in self._lacks
        if op not in self._supported:
            with self._lock:
                self._supported[op] = self._ask(protocol.Supports(op), protocol.Done).value
        return self._supported[op]

    def rehearse(self, op: str, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
        """What `op` gives for tensors like these: the fields of `protocol.Described.outputs`."""
        with self._lock:
            found = self._ask(protocol.Rehearse(op, args, kwargs), protocol.Described)
        outputs: list[Any] = found.outputs
        return outputs

    # Flushes ---------------------------------------------------------------------------------

    def flush(self, reason: str) -> bytes | None:
        """Send the open trace; where it ends with a question, return the encoded answer."""
        if _native.in_region(self._device):
            raise CaptureError(f"a {reason} at {place_of(sys._getframe())}", _NO_VALUES)
        while True:
            with self._lock:
                waits = reason not in ("size", "compiled")
                sealed = _native.seal(self._device, waits, reason == "unknown_shape")
                if sealed is not None:
                    return self._post(sealed, reason)
            time.sleep(0)  # another thread's question ends the trace: let it be asked first

    def submit(
        self, make: Callable[[], tuple[_native.Sealed | None, Result]], reason: str
    ) -> Result:
        """Send what was recorded, and behind it the run that `make` gives; return its result."""
        with self._lock:
            self.flush(reason)
            sealed, result = make()
            if sealed is not None:
                self._post(sealed, reason)
            self._send_early()
        return result

    def define(self, program: int, name: bytes, code: bytes) -> None:
        """Send a program that came from elsewhere, under a number that no trace has."""
        with self._lock:
            self._outbox.append(protocol.Define(program, name, code))

    def _post(self, sealed: _native.Sealed, reason: str) -> bytes | None:
        if sealed.freed:
            self._outbox.append(protocol.Free(sealed.freed))
        if not sealed.program:
            return None
        self._flushes[reason] += 1
        self._forget(sealed.forgotten)
        program = self._define(sealed) if sealed.is_new else None
        if Session.observers:
            where = place_of(sys._getframe())
            cause = {"device": self._device, "reason": reason, "where": where}
            self._tell("genie_flushed", **cause, sealed=sealed, program=program)
        run = protocol.Run(sealed.payload, sealed.tail)
        if sealed.tail:
            return self._ask_tail(run, sealed)
        self._outbox.append(run)
        if reason == "size":
            self._send_early()
        return None

    def define_region(self, sealed: _native.Sealed) -> EncodedProgram:
        """Make a program of a branch or a body, which control flow then names by its hash."""
        with self._lock:
            self._forget(sealed.forgotten)
            if sealed.is_new:
                self._regions[sealed.program] = self._define(sealed, rewrites=False)
            return self._regions[sealed.program]

    def _define(self, sealed: _native.Sealed, rewrites: bool = True) -> EncodedProgram:
        """Make a program of a trace seen for the first time."""
        try:
            graph = GraphBuilder(self._device, sealed, self._semantics_of).build()
            self._tell("genie_annotate", graph=graph)
            if ops := _ops_before_cut(graph):
                _native.cut_program(self._device, sealed.program, ops)
            program = encode_graph(graph, sealed)
            if rewrites:
                program = attrs.evolve(program, rewrite=self._rewrite(graph, sealed))
        except BaseException:
            _native.forget_program(self._device, sealed.program)
            raise
        self._semantics[sealed.program] = program.semantics
        rewrite = protocol.encode(program.rewrite) if program.rewrite else b""
        self._outbox.append(protocol.Define(sealed.program, program.name, program.code, rewrite))
        return program

    def _forget(self, programs: list[int]) -> None:
        """Let go of programs that gave way to others, here and at the executor."""
        if programs:
            self._outbox.append(protocol.Forget(programs))
        for program in programs:
            self._semantics.pop(program, None)
            self._regions.pop(program, None)

    def _rewrite(self, graph: torch.fx.Graph, sealed: _native.Sealed) -> protocol.Rewrite | None:
        """What the passes make of a program; nothing where one is broken."""
        try:
            made: protocol.Rewrite | None = self.hook.genie_rewrite(graph=graph, sealed=sealed)
        except GenieError as error:
            _log.warning("hook.failed", hook="genie_rewrite", reason=str(error))
            return None
        return made

    def _semantics_of(self, program: int, index: int) -> Semantics:
        """What an op of a program means; empty where nobody knows."""
        ops = self._semantics.get(program, [])
        return ops[index] if 0 <= index < len(ops) else Semantics()

    def _tell(self, hook: str, **arguments: Any) -> None:
        """Call a hook of each plugin; what a broken one does not say costs nobody his values."""
        for error in self._plugins.call_each(hook, **arguments):
            _log.warning("hook.failed", hook=hook, reason=str(error))

    def _ask_tail(self, run: protocol.Run, sealed: _native.Sealed) -> bytes:
        reply = self._exchange(run)
        if isinstance(reply, protocol.Outputs):
            return reply.payload
        if (
            isinstance(reply, protocol.Failed)
            and reply.program == sealed.program
            and reply.index == sealed.ops - 1
            and reply.kind in _EAGER_ERRORS
        ):
            # The op that the user has just called: eager's own error.
            raise _EAGER_ERRORS[reply.kind](reply.message)
        raise self._error(reply)

    def _send_early(self) -> None:
        """Let the executor start; a connection that is gone is reported at the next read."""
        try:
            self._send()
        except ConnectionLost as error:
            _log.warning("session.lost", url=self.url, reason=error.reason)

    # Values ----------------------------------------------------------------------------------

    def read(self, view: protocol.Read, target: memoryview) -> None:
        """Copy the contiguous bytes of a view of a value into `target`."""
        with self._lock:
            self._ask(view, protocol.Data, into=target)
            data, self._received = self._received[1:], []  # `target` ends with this call
            if len(data) != 1 or data[0] is not target:
                came = sum(map(len, data))
                raise ProtocolError(f"{came} bytes came for a read of {len(target)}", self.url)

    def put(self, value: int, data: memoryview) -> None:
        """Send `data` as `value`; the caller may change it as soon as this returns."""
        with self._lock:
            if freed := _native.collect_freed(self._device):
                self._outbox.append(protocol.Free(freed))
            self._outbox.append(protocol.Put(value))
            if len(data) <= SMALL and len(self._parts) < MANY:
                self._parts.append(bytes(data))
            else:
                self._parts.append(data)
                self._send()

    def synchronize(self) -> None:
        """Flush, and wait until the executor has finished everything."""
        self.flush("sync")
        with self._lock:
            self._ask(protocol.Sync(), protocol.Done)

    def memory(self, release: bool) -> tuple[int, int]:
        """Free and total bytes of the executor's device, which first gives back what it can."""
        self.flush("sync")
        with self._lock:
            info = self._ask(protocol.Memory(release), protocol.MemoryInfo)
        return info.free, info.total

    def report(self) -> protocol.Reported:
        """What became of rewrites and of inferred strides, so far."""
        with self._lock:
            found: protocol.Reported = self._ask(protocol.Report(), protocol.Reported)
        return found

    def close(self) -> None:
        """Leave in good order, if the executor is still there."""
        if self._lock.acquire(timeout=1.0):  # or a thread waits for an answer: no time for manners
            try:
                self._outbox.append(protocol.Bye())
                self._send()
            except GenieError:
                pass
            finally:
                self._lock.release()
        self._channel.close()

    # Messages --------------------------------------------------------------------------------

    def _send(self) -> None:
        requests, parts = self._outbox, self._parts
        self._outbox, self._parts = [], []
        if self._lost is not None:
            raise ConnectionLost(self.url, self._lost.reason)
        try:
            self._channel.send([protocol.encode(requests), *parts])
        except ConnectionLost as error:
            self._lost = error
            raise
        except ProtocolError:  # too long, and nothing was sent: the last request alone is lost
            if isinstance(requests.pop(), protocol.Put):
                parts.pop()
            self._outbox, self._parts = requests, parts
            raise

    def _exchange(
        self,
        request: protocol.Request,
        timeout: float | None = None,
        into: memoryview | None = None,
    ) -> protocol.Reply:
        self._outbox.append(request)
        began = time.perf_counter()
        self._send()
        self._round_trips += 1
        try:
            self._received = self._channel.receive(timeout, into)
        except ConnectionLost as error:
            self._lost = error
            raise
        self.waited += time.perf_counter() - began
        try:
            reply: protocol.Reply = protocol.decode_reply(next(iter(self._received), b""))
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"malformed reply: {error}", self.url) from error
        return reply

    def _ask(
        self,
        request: protocol.Request,
        expected: type[Any],
        timeout: float | None = None,
        into: memoryview | None = None,
    ) -> Any:
        reply = self._exchange(request, timeout, into)
        if isinstance(reply, expected):
            return reply
        raise self._error(reply)

    def _error(self, reply: protocol.Reply) -> Exception:
        if not isinstance(reply, protocol.Failed):
            return ProtocolError(f"an unexpected {type(reply).__name__}", self.url)
        if reply.kind == "ProtocolError":
            return ProtocolError(reply.message, self.url)
        where = self._semantics_of(reply.program, reply.index).where
        return RemoteError(reply.op or "a request", reply.message, where, self.url)

    # Statistics ------------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """Flushes by reason, round trips, bytes."""
        return {
            "flushes": dict(self._flushes),
            "round_trips": self._round_trips,
            "bytes_up": self._channel.bytes_sent - self._bytes_before[0],
            "bytes_down": self._channel.bytes_received - self._bytes_before[1],
        }

    def reset_counters(self) -> None:
        """Start counting anew."""
        self._flushes.clear()
        self._round_trips = 0
        self._bytes_before = (self._channel.bytes_sent, self._channel.bytes_received)


def _ops_before_cut(graph: torch.fx.Graph) -> int:
    """How many ops come before the one that a plugin marked to begin a program; 0 for none."""
    ops = (node.meta for node in graph.nodes if "op" in node.meta)
    return next((count for count, meta in enumerate(ops) if meta.get("begins")), 0)
