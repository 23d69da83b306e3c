"""The host on the real value store."""

from __future__ import annotations

import pytest
import torch

from genie_core.protocol import (
    Data,
    Define,
    Done,
    Free,
    ProgramCode,
    Put,
    Read,
    Run,
    Supports,
    Sync,
    Welcome,
    encode,
)
from genie_plugins.executor.host import ExecutorHost

pytest.importorskip("genie_core._native", reason="the native module is not built")
FLOAT = 6


@pytest.fixture
def host():
    made = ExecutorHost("cpu")
    yield made
    made.close()


def test_values_go_in_and_out_whole_and_in_part(client):
    matrix = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    client.send(Put(1), data=[matrix.numpy().tobytes()])
    reply, data = client.ask(Read(1, FLOAT, [3, 4], [4, 1], 0, 0))
    assert (reply, data) == (Data(), matrix.numpy().tobytes())
    reply, data = client.ask(Read(1, FLOAT, [2, 3], [1, 4], 1, 0))
    assert data == matrix[:, 1:3].T.contiguous().numpy().tobytes()
    client.send(Free([1]))
    assert client.ask(Sync()) == Done()


def test_a_view_that_leaves_its_value_is_refused(client):
    client.send(Put(1), data=[bytes(16)])
    for size, stride, offset in (([5], [1], 0), ([4], [1], 1), ([1], [1], -1), ([2], [2**62], 0)):
        assert client.ask(Read(1, FLOAT, size, stride, offset, 0)).kind != "ProtocolError"
    assert client.ask(Read(1, 99, [1], [1], 0, 0)).kind
    reply, data = client.ask(Read(1, FLOAT, [4], [1], 0, 0))
    assert (reply, data) == (Data(), bytes(16))


def test_an_unknown_value_is_an_error_of_the_read(client):
    assert client.ask(Read(5, FLOAT, [1], [1], 0, 0)).message
    assert client.ask(Sync()) == Done()


def test_a_bad_program_and_a_bad_payload_are_errors_not_crashes(client):
    code = encode(ProgramCode(1, 0, [], [0], [], [["aten::no_such_op", [], []]]))
    client.send(Define(1, b"", code))
    assert client.ask(Sync()).message
    for payload in (b"", b"\x00", b"\xff" * 100):
        client.send(Run(payload))
        assert client.ask(Sync()).message
    assert client.ask(Sync()) == Done()


def test_which_ops_there_are(connect):
    client = connect()
    welcome = client.hello()
    assert isinstance(welcome, Welcome)
    assert "aten::add.Tensor" not in welcome.lacks
    assert client.ask(Supports("aten::add.Tensor")) == Done(True)
    assert client.ask(Supports("aten::no_such_op")) == Done(False)
