"""`genie demo`: a real model trains and answers on another process, with the CPU's own bits."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    import torch

_NEEDED = {"sklearn": "scikit-learn", "transformers": "transformers"}
_THREADS = 1  # on both sides: the split of a sum over threads decides its last bits
_YOUR_SCRIPT = """\
[cyan]import torch
model = YourModel().to("remote_accelerator")
answer = model(data.to("remote_accelerator")).cpu()[/cyan]

Here: [bold]genie serve tcp://127.0.0.1:7070 --device cpu[/bold] in one terminal, \
[bold]GENIE_DEVICES=tcp://127.0.0.1:7070 python your_script.py[/bold] in another."""


def run(console: Console | None = None, device: str = "remote_accelerator") -> int:
    """Run the demo and report on `console`.

    `device` is the device that is compared with the local CPU; "cpu" starts no executor and so
    only rehearses the script. Returns 0 if every check holds, 1 if one does not, and 2 if a
    package that the demo needs is missing.
    """
    console = console or Console()
    missing = [dist for module, dist in _NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        names = " ".join(missing)
        console.print(f"[red]The demo needs {names}.[/red] Install with: pip install {names}")
        return 2
    with _threads(_THREADS), _far_side(console, device) as target:
        return _run(console, target)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _far_side(console: Console, device: str) -> Iterator[torch.device]:
    import torch

    if torch.device(device).type == "cpu":
        console.print("A rehearsal: both sides are this process's CPU.")
        yield torch.device(device)
        return
    import genie_core
    from genie_plugins.demo.launch import executor_process

    with console.status("Starting an executor …"):
        stack = contextlib.ExitStack()
        executor = stack.enter_context(executor_process(threads=_THREADS))
    with stack:
        console.print(
            f"Executor: process [bold]{executor.process.pid}[/bold] at [bold]{executor.url}[/bold]"
        )
        yield genie_core.connect(executor.url)


def _run(console: Console, device: torch.device) -> int:
    from genie_plugins.demo import digits, report, text

    outcomes = [digits.compare(console, device), *text.compare(console, device)]
    console.print(report.table(device, outcomes))
    failures = [f"{o.name}: {problem}" for o in outcomes for problem in o.problems]
    for failure in failures:
        console.print(f"[red]✗ {failure}[/red]")
    if not failures:
        console.print("[green]✓ Every check holds.[/green] Your own script:\n")
        console.print(_YOUR_SCRIPT, highlight=False)
    return 1 if failures else 0
