"""Models that the matchers were not made with: how well they do on these is how well they do.

The matchers were tuned to the other entries' failures. These are reported apart, and a failure here
is no reason to change a matcher: then the model belongs to the others, and another one here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .entry import Entry

ENTRIES: tuple[Entry, ...] = ()
