"""The programs that a test records, with what their nodes mean."""

from __future__ import annotations

from semantics.conftest import device, recording, synchronize  # noqa: F401 (fixtures)
