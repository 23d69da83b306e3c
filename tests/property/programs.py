"""Random programs, as hypothesis generates and shrinks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from hypothesis import strategies as st
from property.scene import Scene
from property.steps import STEPS, create

_HEAD = """\
import torch
import torch.nn.functional as F


def data(size, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, size, generator=generator).div(4).to(dtype)


def program(dev, out=print):
    torch.manual_seed(0)
"""
_FOOT = """

for name in ("cpu", "remote_accelerator"):
    program(name)
"""


@attrs.frozen
class Program:
    """Statements over `dev`, on variables that they make."""

    lines: tuple[str, ...]

    def script(self) -> str:
        """Give it as a script to run by hand."""
        body = "\n".join(f"    {line}" for line in self.lines)
        return _HEAD + body + "\n" + _FOOT

    def without_needless_lines(self, fails: Callable[[Program], bool]) -> Program:
        """Leave out each line without which it still fails."""
        program = self
        for line in reversed(range(len(self.lines))):
            shorter = Program(program.lines[:line] + program.lines[line + 1 :])
            if fails(shorter):
                program = shorter
        return program


@st.composite
def programs(draw: Callable[[Any], Any], most: int = 13) -> Program:
    """A program of `most` steps on average."""
    torch.manual_seed(0)
    scene = Scene(draw)
    create(scene)
    while scene.number(0, most) > 0:  # shrinks towards the end
        if scene.names():
            scene.pick(STEPS)(scene)
        else:
            create(scene)
    return Program(tuple(scene.lines))
