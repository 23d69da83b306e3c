"""One client's session: its messages, handled strictly in order."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from genie_core import protocol
from genie_core.errors import GenieError, ProtocolError
from genie_core.log import get_logger
from genie_plugins.executor.device import adopt_threads, memory_info, release_memory
from genie_plugins.executor.inductor.hot import HotPrograms
from genie_plugins.executor.rehearsal import rehearse

if TYPE_CHECKING:
    from genie_core.contracts import Buffer, Channel
    from genie_plugins.executor.host import ExecutorHost
    from genie_plugins.executor.native import Store

TORCH = str(torch.__version__)
HELLO_SECONDS = 30.0
LINGER_SECONDS = 1.0
_MALFORMED = (msgspec.MsgspecError, RecursionError, ValueError)
_log = get_logger("executor")
_Answer = tuple[protocol.Reply, "tuple[Buffer, ...]"]


class ClientSession:
    """Speaks with one client over `channel`; used by one thread.

    A request that fails without having asked for a reply is remembered: the next one that wants
    a reply gets the failure. What breaks the protocol is answered once and ends the session.
    """

    def __init__(self, host: ExecutorHost, channel: Channel, number: int) -> None:
        self._host = host
        self._channel = channel
        self._number = number
        self._store: Store | None = None
        self._hot: HotPrograms | None = None
        self._parts: Iterator[memoryview] = iter(())
        self._failure: protocol.Failed | None = None
        self._open = True
        self._programs: set[int] = set()
        self._runs = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            protocol.Run: self._run,
            protocol.Read: self._read,
            protocol.Put: self._put,
            protocol.Free: self._free,
            protocol.Define: self._define,
            protocol.Forget: self._forget,
            protocol.Sync: self._sync,
            protocol.Supports: self._supports,
            protocol.Rehearse: self._rehearse,
            protocol.Memory: self._memory,
            protocol.Report: self._report,
            protocol.Hello: self._hello,
            protocol.Bye: self._bye,
        }

    def run(self) -> None:
        """Handle messages until the client says goodbye.

        Raises `ConnectionLost`, or `ProtocolError` (of which the client has been told).
        """
        try:
            self._message(self._first())
            while self._open:
                self._message(self._channel.receive())
        except ProtocolError as error:
            self.refuse(error.reason)
            raise

    def refuse(self, reason: str) -> None:
        """Tell the client why its session ends; then wait a little until it has read that."""
        try:
            self._send(protocol.Failed("ProtocolError", reason))
            end = time.monotonic() + LINGER_SECONDS
            while (left := end - time.monotonic()) > 0:
                self._channel.receive(left)
        except (GenieError, TimeoutError):
            pass

    def counts(self) -> dict[str, Any]:
        """What went through the session, for its last event."""
        store = self._store
        return {
            "programs": len(self._programs),
            "runs": self._runs,
            "values": store.live_values if store else 0,
            "restrided": dict(store.restrided) if store else {},
            "rewrites": Counter(row[1] for row in store.rewrites) if store else {},
            "bytes_in": self._channel.bytes_received,
            "bytes_out": self._channel.bytes_sent,
            "messages_in": self._channel.messages_received,
        }

    def _first(self) -> list[memoryview]:
        try:
            return self._channel.receive(HELLO_SECONDS)
        except TimeoutError:
            raise ProtocolError(f"no Hello within {HELLO_SECONDS:g} s") from None

    def _message(self, parts: list[memoryview]) -> None:
        self._parts = iter(parts)
        try:
            requests = protocol.decode_requests(next(self._parts, b""))
        except _MALFORMED as error:
            raise ProtocolError(f"malformed message: {error}") from error
        if self._store is None and not (requests and type(requests[0]) is protocol.Hello):
            raise ProtocolError("a session starts with Hello")
        for request in requests:
            self._handlers[type(request)](request)
        if next(self._parts, None) is not None:
            raise ProtocolError("a message carries data that no request takes")

    # Requests with a reply -------------------------------------------------------------------

    def _hello(self, hello: protocol.Hello) -> None:
        if self._store is not None:
            raise ProtocolError("a second Hello")
        check_hello(hello)
        device = self._host.device
        adopt_threads(device, hello.threads)
        lacks = self._host.lacks
        self._store = self._host.native.store(device)
        if self._host.inductor:
            self._hot = HotPrograms(self._store, device)
        self._send(protocol.Welcome(protocol.PROTOCOL, TORCH, device, lacks, self._number))

    def _run(self, run: protocol.Run) -> None:
        self._runs += 1
        try:
            if self._hot is not None:
                self._hot.run(run.payload)
            payload = self._values.run(run.payload)
        except Exception as error:
            self._remember(error)
            payload = None
        if run.reply:
            self._answer(lambda: (protocol.Outputs(payload or b""), ()))

    def _read(self, read: protocol.Read) -> None:
        def data() -> _Answer:
            part = self._values.read(
                read.id, read.dtype, read.size, read.stride, read.offset, read.flags
            )
            return protocol.Data(), (memoryview(part),)

        self._answer(data)

    def _sync(self, _: protocol.Sync) -> None:
        def done() -> _Answer:
            self._values.synchronize()
            return protocol.Done(), ()

        self._answer(done)

    def _supports(self, supports: protocol.Supports) -> None:
        def done() -> _Answer:
            has = self._host.native.has_op(supports.op, self._host.device)
            return protocol.Done(has), ()

        self._answer(done)

    def _rehearse(self, asked: protocol.Rehearse) -> None:
        def described() -> _Answer:
            return protocol.Described(rehearse(asked, self._host.device)), ()

        self._answer(described)

    def _memory(self, memory: protocol.Memory) -> None:
        def done() -> _Answer:
            if memory.release:
                release_memory(self._host.device)
            return protocol.MemoryInfo(*memory_info(self._host.device)), ()

        self._answer(done)

    def _report(self, _: protocol.Report) -> None:
        def reported() -> _Answer:
            outcomes = [protocol.Outcome(*row) for row in self._values.rewrites]
            return protocol.Reported(outcomes, self._values.restrided), ()

        self._answer(reported)

    # Requests without one --------------------------------------------------------------------

    def _put(self, put: protocol.Put) -> None:
        data = next(self._parts, None)
        if data is None:
            raise ProtocolError("a Put without its data")
        try:
            self._values.put(put.id, data)
        except Exception as error:
            self._remember(error)

    def _free(self, free: protocol.Free) -> None:
        try:
            self._values.free(free.ids)
        except Exception as error:
            self._remember(error)

    def _define(self, define: protocol.Define) -> None:
        self._programs.add(define.program)
        if len(self._programs) > protocol.MOST_PROGRAMS:
            raise ProtocolError(f"a session may have {protocol.MOST_PROGRAMS} programs at most")
        try:
            code = protocol.decode_program(define.code)
        except _MALFORMED as error:
            raise ProtocolError(f"malformed program: {error}") from error
        try:
            fields = (*msgspec.structs.astuple(code), define.name.hex())
            self._values.define(define.program, *fields)
            rewrite = self._rewrite(define) if define.rewrite else None
            if self._hot is not None:
                self._hot.define(define.program, code, rewrite)
        except Exception as error:
            self._remember(error, define.program)

    def _forget(self, forget: protocol.Forget) -> None:
        self._programs.difference_update(forget.programs)
        self._values.forget(forget.programs)
        if self._hot is not None:
            self._hot.forget(forget.programs)

    def _rewrite(self, define: protocol.Define) -> protocol.Rewrite | None:
        """Keep a rewrite; a program goes on without one that cannot be played here."""
        try:
            made = protocol.decode_rewrite(define.rewrite)
            *rewrite, passes = msgspec.structs.astuple(made)
        except _MALFORMED as error:
            raise ProtocolError(f"malformed rewrite: {error}") from error
        try:
            self._values.define_rewrite(define.program, *rewrite)
        except Exception as error:
            _log.warning("rewrite.refused", passes=list(passes), reason=str(error))
            return None
        return made

    def _bye(self, _: protocol.Bye) -> None:
        self._open = False

    # Replies ---------------------------------------------------------------------------------

    @property
    def _values(self) -> Store:
        assert self._store is not None
        return self._store

    def _answer(self, work: Callable[[], _Answer]) -> None:
        """Reply with what `work` returns, or with the failure that came first."""
        failure, self._failure = self._failure, None
        if failure is None:
            try:
                reply, data = work()
            except Exception as error:
                failure = self._failed(error)
            else:
                return self._send(reply, *data)
        return self._send(failure)

    def _send(self, reply: protocol.Reply, *data: Buffer) -> None:
        self._channel.send([protocol.encode(reply), *data])

    def _remember(self, error: Exception, program: int = -1) -> None:
        if self._failure is None:
            self._failure = self._failed(error, program)

    def _failed(self, error: Exception, program: int = -1) -> protocol.Failed:
        if isinstance(error, self._host.native.replay_error):
            return protocol.Failed(*error.args)
        text = str(error).encode("utf-8", "replace").decode()
        return protocol.Failed(type(error).__name__, text, program=program)


def check_hello(hello: protocol.Hello) -> None:
    """Raise `ProtocolError` unless the client's protocol and torch fit this side's."""
    if hello.protocol != protocol.PROTOCOL:
        raise ProtocolError(
            f"the client speaks protocol {hello.protocol}, this executor {protocol.PROTOCOL}: "
            "install the same version of genie-remote on both sides"
        )
    ours, theirs = (".".join(v.split(".")[:2]) for v in (TORCH, hello.torch))
    if ours != theirs:
        raise ProtocolError(
            f"the client runs torch {hello.torch}, this executor {TORCH}: install "
            f"torch {ours} at the client, or start an executor with torch {theirs}"
        )
