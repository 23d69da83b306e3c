"""The host memory of a process that is an executor and nothing else."""

from __future__ import annotations


def keep_freed() -> None:
    """Keep what a session frees for its next step, rather than give it to the system; glibc only.

    Call it before the process starts threads.
    """
    import torch  # noqa: F401  the extension's libraries are its

    from genie_core import _native

    _native.keep_freed_memory()


def return_freed() -> None:
    """Give the system what is free."""
    from genie_core import _native

    _native.return_freed_memory()
