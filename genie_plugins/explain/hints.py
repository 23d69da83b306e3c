"""What could be done about a flush, as far as the user's line tells."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable, Iterator

_DECIDES = re.compile(r"\s*(if|elif|while|assert)\b|.*\bif\b.*\belse\b")


def hints(flushes: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A sentence for each line that reads a value to decide in Python; `flushes` as in a report."""
    for reason, where in flushes:
        path, _, rest = where.partition(" in ")[0].rpartition(":")
        if (
            reason == "read"
            and rest.isdigit()
            and _DECIDES.match(linecache.getline(path, int(rest)))
        ):
            yield (
                f"{where} decides in Python, and so waits for a value each time: torch.cond or "
                "torch.while_loop decide on the executor, torch.where takes from both sides"
            )
