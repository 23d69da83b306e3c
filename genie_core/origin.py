"""Finds the place in the user's code that is recording."""

from __future__ import annotations

import os
from types import FrameType
from typing import Any

import torch

from genie_core.numbering import Numbering

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PLUGINS = os.path.join(os.path.dirname(os.path.dirname(_OURS)), "genie_plugins") + os.sep
_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep

origins: Numbering[Any] = Numbering("")
"""What `genie_origin` said of ops, or else their places. 0 is unknown."""


def place_of(frame: FrameType | None) -> str:
    """``file:line in function``, innermost frame outside torch and Genie.

    "the backward pass" where no Python of the user is running: on the device's own thread.
    """
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith((_TORCH, _OURS, _PLUGINS, "<")):
            return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return "the backward pass"
