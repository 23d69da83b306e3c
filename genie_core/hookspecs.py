"""Every hook of Genie, each with its contract.

A plugin is a module (or object) named by an entry point of the group `genie.plugins`, with
functions marked `@genie_core.hookimpl`. It may leave out parameters that it does not need.

Hooks are called on first sights (of a signature, of a program, of an endpoint), never per op.
An exception from a hook becomes a `PluginError` that names plugin and hook; Genie's own errors
pass as they are, and `OpRaised` passes the exception that it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    import click
    import torch

    from genie_core._native import OpCall, Sealed, Specs
    from genie_core.contracts import Channel, Executor, Listener, Pass
    from genie_core.program import EncodedProgram
    from genie_core.protocol import Rewrite
    from genie_core.settings import Settings
    from genie_core.values import FallbackCall, Pattern, TensorSpec

PROJECT = "genie"
GROUP = "genie.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def genie_infer_outputs(call: OpCall) -> list[TensorSpec] | Specs | None:
    """Say what an op's outputs look like, without computing them.

    When: at the first sight of a signature (op, dtypes, sizes, strides, literals); the answer
    is kept, so that later calls of that signature ask nobody.
    call: the op's `name`; `arguments()`, its (args, kwargs) with the user's own tensors, whose
    values must not be read here; `infer_meta()`, what its own meta kernel says.
    Returns: one spec for each tensor output, flat, in order, or what `infer_meta()` returned;
    or None for "not me". If nobody knows, the device flushes and asks the executor (a
    data-dependent shape).
    Errors: raise `OpRaised` around an error of the op itself, so that the user sees eager's.
    """


@hookspec
def genie_session_opened(url: str) -> None:
    """Prepare this process for work on a device, by hooks of torch's own for example.

    When: on the client's side, each time a device's session has been opened.
    url: the executor's address.
    Errors: a plugin that raises is named in a warning; the session is open all the same.
    """


@hookspec(firstresult=True)
def genie_origin(frame: FrameType) -> object | None:
    """Say what Python is doing that records an op.

    When: at an op where no known program goes on as the trace does.
    frame: the innermost frame; do not keep it.
    Returns: `meta["mark"].origin` of the op's node, hashable; its `str()` is shown to users. Each
    distinct one is kept for good. None for "not me": the user's line is all that is known.
    Errors: raised at the op that was called.
    """


@hookspec
def genie_annotate(graph: torch.fx.Graph) -> None:
    """Say what a program's nodes mean.

    When: at a program's first sight, before it is sent; never again for that program.
    graph: a node with `meta["op"]` is a recorded op; `meta["mark"]` is what the recorder noted
    of it. Write what you know into `meta["genie"]`, a `Semantics`, with `attrs.evolve`; change
    nothing else, but `meta["begins"] = True` has what goes alike be cut before that op, from the
    next time on. Genie's own plugins come first.
    Errors: a plugin that raises is named in a warning; the program runs all the same.
    """


@hookspec(firstresult=True)
def genie_rewrite(graph: torch.fx.Graph, sealed: Sealed) -> Rewrite | None:
    """Find other ops with a program's effect.

    When: at a program's first sight, after it was annotated.
    graph: the program; leave it as it is, and edit a copy.
    sealed: what the recorder knows of it, such as `slots`, of which a rewrite may add some.
    Returns: what the executor is to compare with the program, and then to prefer; or None.
    Errors: a plugin that raises is named in a warning; the program runs as it is.
    """


@hookspec
def genie_passes() -> Sequence[Pass]:  # type: ignore[empty-body]
    """Give passes, which make rewrites.

    When: once, at the first program's first sight.
    Returns: passes, each with a name of its own; see `contracts.Pass`.
    Errors: a plugin that raises is named in a warning; nothing is rewritten.
    """


@hookspec
def genie_patterns() -> Sequence[Pattern]:  # type: ignore[empty-body]
    """Give patterns to look for in programs.

    When: once, at the first program's first sight.
    Errors: a plugin that raises is named in a warning; the others' patterns are looked for.
    """


@hookspec
def genie_flushed(
    device: int, reason: str, where: str, sealed: Sealed, program: EncodedProgram | None
) -> None:
    """Observe a flush.

    When: each time that recorded ops became a message, before it is sent; but only while
    `genie_core.session.Session.observers` is above 0, for it costs every flush some microseconds:
    add 1 to it, and take that off again.
    device: its index.
    reason: one of the keys of `Stats.flushes`.
    where: the user's line that caused it.
    sealed: the number of the program, of its ops, and the `payload` sent for this run.
    program: its annotated graph and its code, where it is seen for the first time.
    Errors: a plugin that raises is named in a warning; the program runs all the same.
    """


@hookspec
def genie_device_api() -> dict[str, object]:  # type: ignore[empty-body]
    """Give functions and classes to the module `torch.remote_accelerator`.

    When: once, when a public name that the core does not have is asked of that module.
    Returns: names and what they stand for; of a name that two give, the first loaded one's holds.
    Errors: raised where the name was asked for.
    """


@hookspec(firstresult=True)
def genie_fallback(call: FallbackCall) -> tuple[object] | None:
    """Run an op that the executor lacks in some other way.

    When: each time such an op is called; it is slow, so be loud (once for each op).
    call: the op, its real arguments, why the executor cannot run it, and where it was called.
    Returns: a tuple of one, the op's result, in-place effects already applied; or None for "not
    me". If nobody helps, the user gets a `CaptureError`.
    Errors: raise `OpRaised` around an error of the op itself.
    """


@hookspec(firstresult=True)
def genie_open_transport(url: str, settings: Settings) -> Channel | None:
    """Connect to an executor.

    When: at a device's first use, on the client's side.
    url: the device's address; its scheme says whose it is.
    settings: `connect_timeout` (seconds) and `max_message` (bytes) hold for the channel.
    Returns: a connected channel, or None for a scheme of somebody else's.
    Errors: `ConnectionFailed` when nobody can be reached; `SettingsError` for a bad address.
    """


@hookspec(firstresult=True)
def genie_open_listener(url: str, settings: Settings) -> Listener | None:
    """Listen for clients.

    When: once, by `genie serve`, on the far side.
    url: the address to bind; a port of 0 means any free one.
    settings: `max_message` (bytes) caps what a client may send.
    Returns: a listener, already bound; or None for a scheme of somebody else's.
    Errors: `ConnectionFailed` when it cannot bind; `SettingsError` for an address that is bad
    or not allowed.
    """


@hookspec(firstresult=True)
def genie_make_executor(device: str, settings: Settings) -> Executor | None:
    """Make what runs programs.

    When: once for each device, on the far side (in this process for `inproc://`).
    device: a torch device such as "cpu" or "cuda:0"; "" for the best there is.
    Returns: an executor, or None for "not me".
    Errors: `SettingsError` for a device that this machine lacks.
    """


@hookspec
def genie_cli(cli: click.Group) -> None:
    """Add subcommands to the `genie` command.

    When: the command's help is shown, or one of these commands is asked for.
    cli: the group to call `add_command` on, which refuses a name that is taken. Genie's own
    plugins come first; to replace a command of theirs, block the plugin.
    Errors: a plugin that raises here is named on stderr; the others' commands are there.
    """
