from __future__ import annotations

import pickle

import pytest

from genie_core import errors
from genie_core.errors import GenieError

EXAMPLES = [
    (errors.SettingsError("GENIE_LOG", "x", "give one of a, b"), ["GENIE_LOG='x'", "give one of"]),
    (errors.PluginError("acme", "genie_cli", "KeyError: 1"), ["'acme'", "genie_cli", "KeyError"]),
    (errors.PluginError("acme", "", "import failed"), ["'acme' failed: import", "BLOCK_PLUGINS"]),
    (errors.OpRaised(IndexError("no")), ["IndexError: no"]),
    (errors.ConnectionFailed("tcp://a:1", "refused"), ["tcp://a:1 (refused)", "genie serve"]),
    (errors.ConnectionLost("tcp://a:1"), ["tcp://a:1 is lost.", "start it again"]),
    (
        errors.ProtocolError("bad magic", "tcp://a:1"),
        ["from tcp://a:1: bad magic", "same versions"],
    ),
    (errors.ProtocolError("bad magic"), ["protocol error: bad magic"]),
    (
        errors.RemoteError("aten::mm", "out of memory", "net.fc1 (train.py:12)", "tcp://a:1"),
        ["aten::mm", "tcp://a:1", "net.fc1 (train.py:12)", "out of memory"],
    ),
    (errors.RemoteError("aten::mm", "no"), ["aten::mm failed on the executor: no"]),
    (errors.CaptureError("aten::mm", "no kernel"), ["aten::mm cannot run", "no kernel"]),
]


@pytest.mark.parametrize(("error", "parts"), EXAMPLES)
def test_messages_say_what_where_and_what_to_do(error, parts):
    for part in parts:
        assert part in str(error)


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES])
def test_errors_are_runtime_errors_and_survive_pickling(error):
    """A DataLoader worker's error crosses processes."""
    assert isinstance(error, GenieError)
    assert isinstance(error, RuntimeError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_every_error_has_an_example():
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    kinds = {kind for kind in kinds if issubclass(kind, GenieError)} - {GenieError}
    assert kinds == {type(error) for error, _ in EXAMPLES}


def test_an_error_carries_a_cause_and_notes():
    with pytest.raises(GenieError) as info:
        raise errors.ConnectionLost("tcp://a:1", "reset") from OSError("reset")
    assert isinstance(info.value.__cause__, OSError)
    assert info.value.url == "tcp://a:1"
