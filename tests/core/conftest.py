"""A device with an executor of its own in this process, whose store can be looked into."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import pytest

if TYPE_CHECKING:
    import torch

    from genie_core.session import Session
    from genie_core.values import Stats


@attrs.define
class Flow:
    """A device with an executor of its own, what went to it, and what that holds."""

    device: torch.device
    store: Any = None
    defined: list[bytes] = attrs.Factory(list)

    @property
    def session(self) -> Session:
        from genie_core.dispatcher import dispatcher

        return dispatcher.session(self.device.index)

    def stats(self) -> Stats:
        import genie_core

        return genie_core.stats(self.device)

    def settle(self) -> None:
        import genie_core

        gc.collect()
        genie_core.synchronize(self.device)

    def messages(self) -> int:
        return self.session._channel.messages_sent

    def during(self, work: Callable[[], object]) -> dict[str, Any]:
        """How much each counter grew during `work`, flushes by reason."""
        before, messages = self.stats(), self.messages()
        work()
        after = self.stats()
        grown = {
            name: getattr(after, name) - getattr(before, name)
            for name in attrs.fields_dict(type(before))
            if name != "flushes"
        }
        reasons = {r: n - before.flushes.get(r, 0) for r, n in after.flushes.items()}
        grown["flushes"] = {reason: n for reason, n in reasons.items() if n}
        return {**grown, "messages": self.messages() - messages}


@pytest.fixture(scope="session")
def embedded(device: torch.device) -> Flow:
    if device.type == "cpu":
        pytest.skip("a rehearsal has no recorder")
    import torch

    import genie_core
    from genie_plugins.executor.native import NativeReplay

    torch.zeros(1, device=device).cpu()  # index 0 is everybody's
    stores = []
    make = NativeReplay.store
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            NativeReplay,
            "store",
            lambda self, where: stores.append(make(self, where)) or stores[-1],
        )
        return Flow(genie_core.connect("inproc://"), stores[0])


@pytest.fixture
def flow(embedded: Flow, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    import genie_core
    from genie_core import session

    embedded.settle()
    embedded.defined.clear()
    genie_core.reset_stats(embedded.device)
    encode = session.encode_graph

    def noting(graph: Any, sealed: Any) -> Any:
        program = encode(graph, sealed)
        embedded.defined.append(program.name)
        return program

    monkeypatch.setattr(session, "encode_graph", noting)
    yield embedded
    embedded.settle()
