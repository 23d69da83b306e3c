"""Finds the place in the user's code, and in their model, that is recording."""

from __future__ import annotations

import os
from types import FrameType

import torch

from genie_core.numbering import Numbering

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PLUGINS = os.path.join(os.path.dirname(os.path.dirname(_OURS)), "genie_plugins") + os.sep
_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep

origins = Numbering("")


def describe(frame: FrameType | None) -> str:
    """``file:line in function``, innermost frame outside torch and Genie, with its modules.

    Empty where no Python of the user is running: a backward pass on the device's own thread.
    """
    place, modules = "", []
    while frame is not None:
        code = frame.f_code
        path = code.co_filename
        if code.co_name == "forward" and isinstance(
            module := frame.f_locals.get("self"), torch.nn.Module
        ):
            modules.append(type(module).__name__)
        if not place and not path.startswith((_TORCH, _OURS, _PLUGINS, "<")):
            place = f"{path}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    if not place:
        return "the backward pass"
    return f"{place} ({'.'.join(reversed(modules))})" if modules else place
