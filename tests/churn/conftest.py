from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def genie(connect):
    """An embedded executor of their own: the programs of other tests are not known there."""
    return connect("inproc://")
