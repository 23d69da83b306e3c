"""Genie: a network-attached accelerator as an ordinary PyTorch device.

``model.to("remote_accelerator")`` and nothing else changes. Importing ``torch`` with Genie
installed makes the device exist; importing this package gives its few public names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from genie_core.contracts import Channel, Executor, Listener
    from genie_core.device import connect, reset_stats, stats, synchronize
    from genie_core.errors import GenieError
    from genie_core.hookspecs import hookimpl
    from genie_core.values import Match, Pattern, Stats, TensorSpec

    annotate: Any  # of plugins
    explain: Any

# Names come on first use: `import torch` pays for this module at each start.
_HOMES = {
    "contracts": ("Channel", "Executor", "Listener"),
    "device": ("annotate", "connect", "explain", "reset_stats", "stats", "synchronize"),
    "errors": ("GenieError",),
    "hookspecs": ("hookimpl",),
    "values": ("Match", "Pattern", "Stats", "TensorSpec"),
}

__all__ = [
    "Channel",
    "Executor",
    "GenieError",
    "Listener",
    "Match",
    "Pattern",
    "Stats",
    "TensorSpec",
    "__version__",
    "annotate",
    "connect",
    "explain",
    "hookimpl",
    "reset_stats",
    "stats",
    "synchronize",
]


def __getattr__(name: str) -> Any:
    import importlib

    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home == "device":
        importlib.import_module("torch")  # whole, before its autoload looks for the device
    module = importlib.import_module(f"{__name__}.{home}")
    if home == "device":
        module.register()
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return __all__


from genie_core._autoload import ensure as _ensure  # noqa: E402  (names above are used by it)

_ensure()
