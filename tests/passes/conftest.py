"""A device whose programs are those of one test, and passes that a test may add."""

from __future__ import annotations

import pytest
import torch

from genie_core.plugins import Plugin, manager
from genie_plugins.passes import rewriting


@pytest.fixture(scope="session")
def genie(connect):
    """An embedded executor of their own: the programs of other tests are not known there."""
    return connect("inproc://")


@pytest.fixture
def outcomes(genie):
    """What became of the rewrites of the test's programs; each test records its own."""
    known = {one.program for one in torch.remote_accelerator.rewrites(genie)}

    def new():
        found = torch.remote_accelerator.rewrites(genie)
        return [one for one in found if one.program not in known]

    return new


@pytest.fixture
def only(monkeypatch):
    """Switch on the passes that are named, and no others."""

    def choose(*names):
        monkeypatch.setenv("GENIE_PASSES", ",".join(["-all", *names]))
        rewriting.passes.cache_clear()

    yield choose
    rewriting.passes.cache_clear()


@pytest.fixture
def plug():
    """Register an object with hooks, as if it had come by an entry point."""
    added = []

    def register(plugin, name):
        own = manager()
        own._pluggy.register(plugin, name=name)
        own.plugins.append(Plugin(name, "tests"))
        added.append((plugin, own.plugins[-1]))
        rewriting.passes.cache_clear()

    yield register
    for plugin, row in added:
        manager()._pluggy.unregister(plugin)
        manager().plugins.remove(row)
    rewriting.passes.cache_clear()
