"""What `genie doctor` looks at: torch, the extension, devices, plugins, addresses."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from genie_core.errors import GenieError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

State: TypeAlias = Literal["ok", "note", "missing"]

REBUILD = "build it again: pip install --no-build-isolation --force-reinstall --no-deps ."


@attrs.frozen
class Check:
    """One finding; `remedy` is what to do where `state` is not "ok".

    "note" is something that only some uses need, "missing" stops every use.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """Look at everything; a probe that raises is itself a finding."""
    return [check for probe in _PROBES for check in _guarded(probe)]


def _guarded(probe: Callable[[], Iterator[Check]]) -> list[Check]:
    name = probe.__name__.strip("_")
    try:
        return list(probe())
    except GenieError as error:
        return [Check(name, "missing", type(error).__name__, str(error))]
    except Exception as error:  # doctor must report whatever is broken, not break with it
        return [Check(name, "missing", f"{type(error).__name__}: {error}", REBUILD)]


def _python() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield Check("genie-remote", "ok", importlib.metadata.version("genie-remote"))


def _torch() -> Iterator[Check]:
    if importlib.util.find_spec("torch") is None:
        yield Check("torch", "missing", "not installed", "pip install torch")
        return
    import torch

    yield Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")


def _extension() -> Iterator[Check]:
    import torch

    info = importlib.import_module("genie_core._native").build_info()
    built, found = str(info["torch"]), torch.__version__
    same = built.split(".")[:2] == found.split(".")[:2]
    yield Check(
        "extension",
        "ok" if same else "missing",
        ", ".join(f"{key} {value}" for key, value in info.items()),
        "" if same else f"it was built for torch {built}, not {found}: {REBUILD}",
    )


def _compiler() -> Iterator[Check]:
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), "")
    remedy = "" if found else "needed only to build: install g++ or clang++"
    yield Check("c++ compiler", "ok" if found else "note", found or "none", remedy)


def _accelerators() -> Iterator[Check]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [torch.cuda.get_device_name(index) for index in range(count)]
    remedy = "" if names else "an executor here runs on the CPU; for CUDA, a torch built with it"
    yield Check("cuda", "ok" if names else "note", ", ".join(names) or "none here", remedy)


def _tls() -> Iterator[Check]:
    import ssl

    if not ssl.HAS_TLSv1_3:
        remedy = "needed only for tls:// addresses: a Python with OpenSSL 1.1.1 or newer"
        yield Check("tls", "note", ssl.OPENSSL_VERSION, remedy)
        return
    certs = importlib.util.find_spec("cryptography") is not None
    remedy = "" if certs else "needed only for `genie certs`: pip install 'genie-remote[tls]'"
    found = ssl.OPENSSL_VERSION if certs else f"{ssl.OPENSSL_VERSION}, no cryptography"
    yield Check("tls", "ok" if certs else "note", found, remedy)


def _plugins() -> Iterator[Check]:
    from genie_core.plugins import manager

    plugins = manager().plugins
    for plugin in plugins:
        if plugin.state != "loaded":
            state: State = "note" if plugin.state == "blocked" else "missing"
            yield Check(f"plugin {plugin.name}", state, plugin.state, plugin.reason)
    for hook, what in _NEEDED.items():
        names = [plugin.name for plugin in plugins if hook in plugin.hooks]
        remedy = "" if names else "no plugin for it is loaded: see `genie plugins`"
        yield Check(what, "ok" if names else "missing", ", ".join(names) or "none", remedy)


def _devices() -> Iterator[Check]:
    from genie_core.settings import Settings

    for index, url in enumerate(Settings.from_env().devices):
        yield _device(f"remote_accelerator:{index}", url)


def _device(name: str, url: str) -> Check:
    """Connect as a device would, and leave at once."""
    from genie_core.plugins import manager
    from genie_core.settings import Settings

    try:
        channel = manager().hook.genie_open_transport(url=url, settings=Settings.from_env())
    except GenieError as error:
        return Check(name, "missing", url, str(error))
    if channel is None:
        return Check(name, "missing", url, "no loaded plugin knows this kind of address")
    channel.close()
    return Check(name, "ok", f"{url} answers")


_NEEDED = {
    "genie_open_transport": "transports",
    "genie_make_executor": "executors",
    "genie_infer_outputs": "shape inference",
}
_PROBES = (_python, _torch, _extension, _compiler, _accelerators, _tls, _plugins, _devices)
