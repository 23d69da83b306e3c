"""How often one address may fail to prove who it is."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 4096  # addresses that are remembered


class FailureLimiter:
    """Each address may fail `burst` times at once, and once more in each `seconds` after that.

    An IPv6 address is its /64 network, of which one machine has all. Safe from any thread.
    """

    def __init__(
        self, burst: int = 5, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = burst
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._clear: OrderedDict[str, float] = OrderedDict()  # when it has no failure left

    def allows(self, host: str) -> bool:
        """Whether `host` may try."""
        with self._lock:
            return self._failures(_network(host)) <= self._burst - 1

    def failed(self, host: str) -> bool:
        """Count a failure; whether it is one that stops `host` for now."""
        key = _network(host)
        with self._lock:
            failures = min(self._failures(key), 2 * self._burst) + 1
            self._clear[key] = self._clock() + failures * self._seconds
            self._clear.move_to_end(key)
            if len(self._clear) > MOST:
                self._clear.popitem(last=False)
        return failures > self._burst - 1

    def _failures(self, key: str) -> float:
        left = self._clear.get(key, 0.0) - self._clock()
        if left <= 0:
            self._clear.pop(key, None)
            return 0.0
        return left / self._seconds


def _network(host: str) -> str:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
