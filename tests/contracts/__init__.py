"""The contract of `genie_core.contracts`, as tests that any transport's own tests inherit.

Installed as `genie_contracts`; it needs pytest. `docs/transports.md` says how to use it.
"""

import pytest

for _name in ("base", "endings", "flow", "listening", "messages", "processes"):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")

from .base import Pair, run_in_background  # noqa: E402
from .transport import ChannelContract, ListenerContract, TransportContract  # noqa: E402

__all__ = ["ChannelContract", "ListenerContract", "Pair", "TransportContract", "run_in_background"]
