"""The far side: runs programs on a torch device of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import click

    from genie_core.contracts import Executor
    from genie_core.settings import Settings


@genie_core.hookimpl
def genie_make_executor(device: str, settings: Settings) -> Executor | None:
    """Make a host that replays programs natively on `device`; "" is CUDA or else the CPU."""
    from genie_plugins.executor.device import resolve
    from genie_plugins.executor.host import ExecutorHost

    return ExecutorHost(resolve(device), inductor=settings.inductor)


@genie_core.hookimpl
def genie_cli(cli: click.Group) -> None:
    """Add `genie serve`."""
    from genie_plugins.executor.command import serve

    cli.add_command(serve)
