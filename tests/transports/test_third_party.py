"""The contract finds what is wrong with a transport of somebody else's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import contracts
import pytest

TESTS = """
import pytest
from contracts import ChannelContract
from genie_plugins.transport_inproc.channel import InprocChannel, channel_pair

class Pigeon(InprocChannel):
{body}

class TestPigeon(ChannelContract):
    @pytest.fixture
    def make_pair(self):
        def make(max_message=8 << 30):
            pair = channel_pair("pigeon://loft", max_message, backlog=1 << 20)
            for channel in pair:
                channel.__class__ = Pigeon
            return pair
        return make
"""
FAULTS = {
    "    pass": set(),
    "    def send(self, parts): super().send([p for p in parts if len(p)])": {
        "test_empty_parts_and_no_parts"
    },
    "    def receive(self, timeout=None, into=None): return super().receive(timeout)": {
        "test_a_second_part_is_received_where_it_is_wanted"
    },
    "    def send(self, parts): super().send([bytes(bytearray(p)) for p in parts])": {
        "test_parts_are_gathered_without_a_copy",
        "test_a_strided_buffer_is_refused_and_harms_nothing",
    },
    "    def close(self): self._outgoing.close()": {"test_close_wakes_a_receiver_of_this_end"},
}


@pytest.mark.parametrize("fault", FAULTS, ids=["none", "empty", "place", "copy", "close"])
def test_a_fault_is_found(fault, tmp_path):
    (tmp_path / "test_pigeon.py").write_text(TESTS.format(body=fault))
    names = " or ".join(FAULTS[fault]) or "messages or arrives or close"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", names, tmp_path],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(contracts.__file__).parents[1])},
        cwd=tmp_path,
    )
    failed = set(re.findall(r"^FAILED .*::(test_\w+)", done.stdout, re.MULTILINE))
    assert failed == FAULTS[fault], done.stdout
    assert done.returncode == bool(failed), done.stdout
