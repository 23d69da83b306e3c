"""What can go wrong between a user's script and an executor, on the real device."""

from __future__ import annotations

import contextlib
import inspect
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest
import torch

import genie_core
from genie_core import plugins, protocol
from genie_core.errors import (
    ConnectionFailed,
    ConnectionLost,
    ProtocolError,
    RemoteError,
    SettingsError,
)
from genie_core.settings import Settings


@pytest.fixture(scope="module", autouse=True)
def _real_device(connect):
    """Skips a rehearsal, and opens the embedded executor first."""


def run_script(code, **environ):
    """Run a user's script in a process of its own; what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:__main__", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environ},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def error_of_first_op(**environ):
    return run_script(
        """
        import torch
        import genie_core
        print("devices:", torch.remote_accelerator.device_count())
        for _ in range(2):
            try:
                torch.ones(2, device="remote_accelerator")
            except genie_core.GenieError as error:
                print(type(error).__name__, error)
        """,
        **environ,
    )


def next_line():
    """`file:line` of the line after the caller's."""
    frame = inspect.currentframe().f_back
    return f"{__file__}:{frame.f_lineno + 1} "


# Devices and addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize("index", [15, 50, 127])
@pytest.mark.parametrize("make", [torch.ones, torch.empty, torch.randn])
def test_an_unknown_index_says_how_many_devices_there_are(make, index):
    said = rf"remote_accelerator:{index} does not exist.*GENIE_DEVICES"
    with pytest.raises(RuntimeError, match=said):
        make(2, device=f"remote_accelerator:{index}")


@pytest.mark.parametrize(
    "use",
    [
        lambda: torch.ones(2).to("remote_accelerator:50"),
        lambda: torch.nn.Linear(2, 2).to("remote_accelerator:50"),
        lambda: torch.remote_accelerator.set_device(50),
        lambda: torch.remote_accelerator.synchronize(50),
        lambda: genie_core.stats(50),
        lambda: genie_core.stats(-50),
        lambda: genie_core.reset_stats("remote_accelerator:50"),
    ],
    ids=["to", "module", "set_device", "synchronize", "stats", "negative", "reset_stats"],
)
def test_an_unknown_index_is_refused_wherever_it_is_given(use):
    with pytest.raises(RuntimeError, match=r"remote_accelerator:-?50 does not exist"):
        use()


def test_the_device_of_somebody_else_is_refused():
    with pytest.raises(ValueError, match="expected a remote_accelerator device, not cpu"):
        genie_core.stats("cpu")


def test_a_misspelt_device_is_torchs_own_error():
    with pytest.raises(RuntimeError, match="remote_accelerater"):
        torch.ones(2, device="remote_accelerater")


def test_an_unreachable_executor_is_named_at_the_first_op_and_at_the_next():
    devices, *errors = error_of_first_op(GENIE_DEVICES="tcp://127.0.0.1:1").splitlines()
    assert devices == "devices: 1"  # nothing was opened to count them
    assert len(errors) == 2
    for error in errors:
        assert error.startswith("ConnectionFailed cannot reach an executor at tcp://127.0.0.1:1")
        assert "genie serve tcp://127.0.0.1:1" in error
        assert "GENIE_DEVICES" in error


def test_an_address_that_is_none_is_named_with_its_variable():
    assert "SettingsError GENIE_DEVICES='nonsense'" in error_of_first_op(GENIE_DEVICES="nonsense")


@pytest.mark.parametrize("url", ["nonsense", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:x"])
def test_connecting_to_what_is_no_address_is_refused(connect, url):
    with pytest.raises(SettingsError, match="tcp://"):
        connect(url)


def test_an_address_of_no_plugins_is_refused_and_says_where_to_look(connect):
    with pytest.raises(ConnectionFailed, match=r"pigeon://loft.*genie plugins"):
        connect("pigeon://loft")


def test_a_failed_connection_leaves_the_devices_as_they_were(connect):
    count = torch.remote_accelerator.device_count()
    with pytest.raises(ConnectionFailed):
        connect("tcp://127.0.0.1:1")
    assert torch.remote_accelerator.device_count() == count


# Blocked plugins ---------------------------------------------------------------------------------


def test_without_its_transport_the_address_is_an_error_that_says_where_to_look():
    said = error_of_first_op(GENIE_DEVICES="tcp://127.0.0.1:1", GENIE_BLOCK_PLUGINS="transport_tcp")
    assert "ConnectionFailed" in said
    assert "no transport plugin opens tcp:// addresses" in said
    assert "genie plugins" in said


def test_without_an_executor_plugin_inproc_is_an_error_that_says_where_to_look():
    said = error_of_first_op(GENIE_BLOCK_PLUGINS="executor")
    assert "ConnectionFailed" in said
    assert "genie plugins" in said


def test_without_shape_inference_the_executor_is_asked_and_results_are_the_same():
    said = run_script(
        """
        import torch
        import genie_core
        results = []
        for device in ("cpu", "remote_accelerator"):
            torch.manual_seed(0)
            layers = torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
            model = torch.nn.Sequential(*layers)
            x = torch.randn(3, 4)
            model, x = model.to(device), x.to(device)
            loss = model(x).softmax(-1).square().mean()
            loss.backward()
            results.append([loss.detach().cpu(), *(p.grad.cpu() for p in model.parameters())])
        print(all(map(torch.equal, *results)), genie_core.stats().flushes["unknown_shape"] > 10)
        """,
        GENIE_BLOCK_PLUGINS="shape_inference",
    )
    assert said == "True True\n"


def test_without_fallback_an_op_that_the_executor_lacks_is_an_error_that_names_it():
    said = run_script(
        """
        import torch
        import genie_core
        from genie_core.errors import CaptureError
        from genie_plugins.demo.launch import executor_process

        library = torch.library.Library("acme_blocked", "DEF")
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CPU")
        with executor_process() as executor:
            x = torch.ones(2, device=genie_core.connect(executor.url))
            try:
                torch.ops.acme_blocked.twice(x)
            except CaptureError as error:
                print(error)
        """,
        GENIE_BLOCK_PLUGINS="fallback",
    )
    assert "acme_blocked::twice" in said


# Executors of another kind -----------------------------------------------------------------------


@pytest.fixture
def impostor():
    """Starts a listener that answers the first message as `answer(channel, hello)` does."""
    with contextlib.ExitStack() as stack:

        def start(answer):
            hook = plugins.manager().hook
            listener = hook.genie_open_listener(url="tcp://127.0.0.1:0", settings=Settings())
            stack.callback(listener.close)

            def serve():
                channel = listener.accept()
                stack.callback(channel.close)
                (hello,) = protocol.decode_requests(channel.receive(10)[0])
                answer(channel, hello)

            threading.Thread(target=serve, daemon=True).start()
            return listener.url

        yield start


def welcome(protocol_number, torch_version):
    return protocol.Welcome(protocol_number, torch_version, "cpu", [], 1)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (protocol.Failed("ProtocolError", "the client speaks protocol 1"), "speaks protocol 1"),
        (welcome(99, str(torch.__version__)), "protocol 99"),
        (welcome(protocol.PROTOCOL, "1.13.0"), "torch 1.13.0"),
        (protocol.Done(), "unexpected Done"),
    ],
    ids=["refused", "protocol", "torch", "out of order"],
)
def test_an_executor_of_another_version_is_refused(connect, impostor, reply, said):
    url = impostor(lambda channel, hello: channel.send([protocol.encode(reply)]))
    with pytest.raises(ProtocolError, match=said) as info:
        connect(url)
    assert url in str(info.value)
    assert "same versions" in str(info.value)


@pytest.mark.parametrize(
    "parts", [[b"\xc1 garbage"], [], [b""], [b"\x93\x01"]], ids=["garbage", "none", "empty", "cut"]
)
def test_an_executor_that_talks_nonsense_is_refused(connect, impostor, parts):
    url = impostor(lambda channel, hello: channel.send(parts))
    with pytest.raises(ProtocolError) as info:
        connect(url)
    assert url in str(info.value)


def test_an_executor_that_hangs_up_at_once_is_named(connect, impostor):
    url = impostor(lambda channel, hello: channel.close())
    with pytest.raises(ConnectionLost, match=url):
        connect(url)


def test_an_executor_that_never_answers_is_given_up_after_the_time_that_is_set(
    connect, impostor, monkeypatch
):
    monkeypatch.setenv("GENIE_CONNECT_TIMEOUT", "0.5")
    answered = threading.Event()
    url = impostor(lambda channel, hello: answered.wait(20))
    start = time.monotonic()
    with pytest.raises(ConnectionFailed, match=url):
        connect(url)
    assert time.monotonic() - start < 10
    answered.set()


def test_the_real_executor_refuses_a_client_of_another_version(
    connect, shared_executor, monkeypatch
):
    monkeypatch.setattr(protocol, "PROTOCOL", 99)
    with pytest.raises(ProtocolError, match="speaks protocol 99.*genie-remote on both sides"):
        connect(shared_executor.url)


# An executor that dies ---------------------------------------------------------------------------


def test_a_dead_executor_is_one_clear_error_at_the_read_and_at_each_later_use(
    connect, executor_process
):
    device = connect(executor_process.url)
    x = torch.arange(4.0, device=device)
    assert x.sum().item() == 6.0
    executor_process.kill()
    y = x + 1  # recorded: nothing is sent yet
    for use in (y.cpu, y.sum().item, y.tolist, x.cpu, lambda: genie_core.synchronize(device)):
        with pytest.raises(ConnectionLost, match=executor_process.url) as info:
            use()
        assert "start it again" in str(info.value)
    with pytest.raises(ConnectionLost, match=executor_process.url):
        torch.ones(3).to(device).cpu()
    del x, y  # frees go nowhere, quietly


def test_an_executor_that_dies_while_a_read_waits_ends_the_wait(connect, executor_process):
    device = connect(executor_process.url)
    x = torch.ones(1024, 1024, device=device)
    x.sum().item()
    for _ in range(500):  # some 10 s of work
        x = (x @ x).clamp(0, 1)
    killer = threading.Timer(1.0, executor_process.kill)
    killer.start()
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match=executor_process.url):
        x.sum().item()
    assert 0.5 < time.monotonic() - start < 8
    killer.join()


def test_the_script_ends_in_good_order_after_its_executor_died():
    said = run_script(
        """
        import torch
        import genie_core
        from genie_plugins.demo.launch import executor_process

        with executor_process() as executor:
            device = genie_core.connect(executor.url)
            model = torch.nn.Linear(2, 2).to(device)
            model(torch.ones(1, 2, device=device)).sum().backward()
            executor.kill()
            try:
                print(model.weight.grad)
            except genie_core.GenieError as error:
                print(type(error).__name__)
        """
    )
    assert said == "ConnectionLost\n"


def test_other_executors_go_on(connect, executor_process, remote_device):
    device = connect(executor_process.url)
    x, other = torch.ones(3, device=device), torch.ones(3, device=remote_device)
    executor_process.kill()
    with pytest.raises(ConnectionLost):
        x.cpu()
    assert (other + 1).sum().item() == 6.0
    assert torch.ones(2, device="remote_accelerator").sum().item() == 2.0


# Ops that fail on the executor -------------------------------------------------------------------


def failing_ops():
    def at(*positions):
        return lambda x: torch.tensor(positions, device=x.device)

    bad = at(1, 50)
    return {
        "aten::index_select": lambda x: x.index_select(0, bad(x)),
        "aten::gather": lambda x: x.gather(0, bad(x)),
        "aten::take": lambda x: x.take(bad(x)),
        "aten::index.Tensor": lambda x: x[bad(x)],
        "aten::embedding": lambda x: torch.nn.functional.embedding(bad(x), x.reshape(5, 2)),
        "aten::scatter.src": lambda x: x.scatter(0, bad(x), x),
    }


@pytest.mark.parametrize("op", failing_ops())
def test_a_failure_is_raised_at_the_read_and_names_op_place_and_executor(
    remote_device, shared_executor, op
):
    x = torch.arange(10.0, device=remote_device)
    fine = x * 2
    expected = next_line()
    failed = failing_ops()[op](x)
    depends = failed + 1
    later = fine + 1
    for value in (depends, failed, depends):
        with pytest.raises(RemoteError) as info:
            value.cpu()
        error = info.value
        assert error.op == op
        assert error.endpoint == shared_executor.url
        assert f"{__file__}:" in error.where
        assert expected.split(":")[0] in error.where
        for part in (op, error.where, shared_executor.url):
            assert part in str(error)
    assert torch.equal(fine.cpu(), torch.arange(10.0) * 2)
    assert torch.equal(later.cpu(), torch.arange(10.0) * 2 + 1)


def test_the_place_is_the_users_line_and_module(remote_device):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(4, 2)

        def forward(self, words):
            self.line = next_line()
            return self.table(words) * 2

    net = Net().to(remote_device)
    answer = net(torch.tensor([1, 9], device=remote_device))
    with pytest.raises(RemoteError) as info:
        answer.cpu()
    assert net.line in info.value.where
    assert "Net.table" in info.value.where


def test_what_depends_on_a_failure_raises_however_it_depends(remote_device):
    x = torch.arange(10.0, device=remote_device)
    failed = x.index_select(0, torch.tensor([50], device=remote_device))
    viewed = failed[0]
    written = torch.zeros(10, device=remote_device)
    view_of_written = written[2:4]
    untouched = written + 1
    written.add_(failed)
    branches = [
        viewed,
        failed.detach().reshape(1, 1),
        written,
        view_of_written,
        torch.cat([x, failed]),
        (x * failed.sum()).mean(),
    ]
    for value in branches:
        with pytest.raises(RemoteError, match="aten::index_select"):
            value.cpu()
    assert untouched.sum().item() == 10.0
    assert x.sum().item() == 45.0


def test_a_value_that_is_written_anew_is_right_again(remote_device):
    target = torch.zeros(2, device=remote_device)
    target.add_(target.gather(0, torch.tensor([9, 9], device=remote_device)))
    with pytest.raises(RemoteError):
        target.cpu()
    fresh = torch.ones(2, device=remote_device)
    assert fresh.tolist() == [1.0, 1.0]


def test_reading_control_values_of_a_failure_raises(remote_device):
    failed = torch.ones(3, device=remote_device).gather(0, torch.tensor([7], device=remote_device))
    for use in (failed.item, lambda: bool(failed > 0), failed.tolist, lambda: repr(failed)):
        with pytest.raises(RemoteError, match="aten::gather"):
            use()
    with pytest.raises((RemoteError, RuntimeError), match="aten::gather"):
        failed.nonzero()


def test_a_failure_in_a_backward_pass_poisons_its_gradients_only(remote_device):
    good = torch.ones(3, device=remote_device, requires_grad=True)
    bad = torch.ones(3, device=remote_device, requires_grad=True)
    loss = good.square().sum() + bad.gather(0, torch.tensor([9], device=remote_device)).sum()
    loss.backward(torch.ones((), device=remote_device))
    assert torch.equal(good.grad.cpu(), torch.full((3,), 2.0))
    with pytest.raises(RemoteError, match="aten::"):
        bad.grad.cpu()
    with pytest.raises(RemoteError, match="aten::gather"):
        loss.item()


def test_a_failing_step_leaves_the_next_one_right(remote_device):
    """The same program, known to the executor, fails with one input and works with the next."""
    table = torch.arange(4.0, device=remote_device)
    for position, fails in ((1, False), (2, False), (9, True), (3, False), (9, True), (0, False)):
        taken = table.index_select(0, torch.tensor([position], device=remote_device)) * 2
        if fails:
            with pytest.raises(RemoteError, match="aten::index_select"):
                taken.item()
        else:
            assert taken.item() == position * 2.0


def test_what_the_op_itself_refuses_is_eagers_own_error(remote_device, capfd):
    a = torch.ones(3, 4, device=remote_device)
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied"):
        a @ a
    with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite"):
        torch.linalg.cholesky(-torch.eye(3, device=remote_device))
    with pytest.raises(IndexError):
        a.sum(dim=5)
    assert a.sum().item() == 12.0
    assert capfd.readouterr().err == ""


def test_numbers_that_vary_may_be_complex(remote_device):
    for step in range(4):
        made = torch.full((2,), complex(step, 1), device=remote_device)
        assert made.tolist() == [complex(step, 1)] * 2


# Messages past the cap ----------------------------------------------------------------------------


def test_data_past_the_cap_is_refused_and_costs_its_own_value_only(
    connect, shared_executor, monkeypatch
):
    monkeypatch.setenv("GENIE_MAX_MESSAGE", "1000000")
    device = connect(shared_executor.url)
    x = torch.arange(4.0).to(device) + 1  # waits for the next message
    with pytest.raises(ProtocolError, match="GENIE_MAX_MESSAGE"):
        torch.ones(1_000_000).to(device)
    assert x.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_read_past_the_cap_is_refused(connect, shared_executor, monkeypatch):
    monkeypatch.setenv("GENIE_MAX_MESSAGE", "1000000")
    device = connect(shared_executor.url)
    large = torch.ones(1_000_000, device=device)
    with pytest.raises(ProtocolError, match="GENIE_MAX_MESSAGE"):
        large.cpu()


# Several clients ---------------------------------------------------------------------------------


def test_clients_of_one_executor_do_not_see_each_others_values(connect, shared_executor):
    devices = [connect(shared_executor.url) for _ in range(2)]
    held = [torch.full((4,), float(i), device=device) for i, device in enumerate(devices)]
    failures = []

    def work(number):
        try:
            for step in range(50):
                held[number] += 1
                read = held[number].tolist()
                if read != [number + step + 1.0] * 4:
                    failures.append((number, step, read))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(devices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with pytest.raises(RuntimeError):
        (held[0] + held[1]).cpu()


def test_a_stranger_reads_nothing_by_guessing_names(remote_device, shared_executor):
    secret = torch.full((4,), 42.0, device=remote_device)
    assert secret.sum().item() == 168.0
    url = shared_executor.url
    channel = plugins.manager().hook.genie_open_transport(url=url, settings=Settings())

    def ask(request):
        channel.send([protocol.encode([request])])
        return protocol.decode_reply(channel.receive(10)[0])

    hello = protocol.Hello(protocol.PROTOCOL, str(torch.__version__), 1)
    assert isinstance(ask(hello), protocol.Welcome)
    for name in (*range(300), 1 << 32, (1 << 64) - 1):
        reply = ask(protocol.Read(name, 6, [4], [1], 0, 0))
        assert isinstance(reply, protocol.Failed), name
    channel.close()
    assert secret.tolist() == [42.0] * 4


def test_processes_share_an_executor(shared_executor):
    code = """
        import sys, torch
        import genie_core  # torch 2.4 and before do not look for devices
        start = float(sys.stdin.readline())
        x = torch.full((8,), start, device="remote_accelerator")
        for _ in range(100):
            x = x + 1
            assert x[0].item() == (start := start + 1)
        print(x.sum().item())
    """
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GENIE_DEVICES": shared_executor.url},
        )
        for _ in range(2)
    ]
    said = [client.communicate(f"{i * 1000}\n", timeout=120)[0] for i, client in enumerate(clients)]
    assert said == ["800.0\n", "8800.0\n"]


# Ops that only the client has --------------------------------------------------------------------


@pytest.fixture(scope="module")
def acme():
    library = torch.library.Library("acme", "DEF")
    library.define("twice(Tensor x, int n=2) -> Tensor")
    library.define("bump_(Tensor(a!) x, Tensor y) -> Tensor(a!)")
    library.define("pair(Tensor x) -> (Tensor, Tensor[])")
    library.define("count(Tensor x) -> int")
    library.define("unhappy(Tensor x) -> Tensor")

    def unhappy(x):
        raise ValueError("acme is unhappy")

    library.impl("twice", lambda x, n=2: x * n, "CPU")
    library.impl("bump_", lambda x, y: x.add_(y), "CPU")
    library.impl("pair", lambda x: (x + 1, [x * 2, x * 3]), "CPU")
    library.impl("count", lambda x: int((x > 0).sum()), "CPU")
    library.impl("unhappy", unhappy, "CPU")
    yield torch.ops.acme
    library._destroy() if hasattr(library, "_destroy") else None


def test_an_op_that_only_the_client_has_runs_there_and_says_so_once(acme, remote_device, capfd):
    x = torch.arange(4.0, device=remote_device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            result = acme.twice(x + 1, 3)
            assert result.device == x.device
            assert (result + 1).tolist() == [4.0, 7.0, 10.0, 13.0]
    (warning,) = [w for w in caught if "acme.twice" in str(w.message)]
    assert "the client's CPU" in str(warning.message)
    assert f"{__file__}:" in str(warning.message)
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("ignore:acme")
def test_such_an_op_may_write_views_and_return_several_things(acme, remote_device):
    x = torch.zeros(4, device=remote_device)
    view = x[1:3]
    assert acme.bump_(view, torch.ones(2, device=remote_device)) is view
    assert x.tolist() == [0.0, 1.0, 1.0, 0.0]
    one, (two, three) = acme.pair(x)
    assert one.tolist() == [1.0, 2.0, 2.0, 1.0]
    assert two.tolist() == [0.0, 2.0, 2.0, 0.0]
    assert three.tolist() == [0.0, 3.0, 3.0, 0.0]
    assert acme.count(x) == 2
    with pytest.raises(ValueError, match="acme is unhappy"):
        acme.unhappy(x)
    assert x.sum().item() == 2.0
