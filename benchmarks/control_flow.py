"""What a loop on the executor saves: a text of 64 tokens, the executor a millisecond away."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ._measure import THREADS, gpt2, medians, seconds

TOKENS = 64
PROMPT = 16
ROUNDS = 5
DELAY = 1e-3  # seconds, each way
_MODELS: dict[str, dict[str, int]] = {
    "GPT-2 of 6 layers, 384 wide": {"n_layer": 6, "n_embd": 384, "n_head": 6, "vocab_size": 8192},
    "GPT-2 of 2 layers, 128 wide": {"n_layer": 2, "n_embd": 128, "n_head": 4, "vocab_size": 8192},
}


def run() -> dict[str, Any]:
    """One row for each model and way to generate: milliseconds, round trips, the same tokens?"""
    import genie_core
    from genie_plugins.demo.launch import executor_process

    torch.set_num_threads(THREADS)
    with executor_process(threads=THREADS) as executor, delayed(executor.url, DELAY) as url:
        device = genie_core.connect(url)
        rows = [row for name, config in _MODELS.items() for row in _rows(name, config, device)]
    ratios = {
        rows[i]["model"]: {"ratio": rows[i]["ms"] / rows[i + 1]["ms"]}
        for i in range(0, len(rows), 2)
    }
    return {"rows": rows, "device_loop_to_token_loop": ratios}


def _rows(name: str, config: dict[str, int], device: torch.device) -> Iterator[dict[str, Any]]:
    model = gpt2(**config)
    generator = torch.Generator().manual_seed(1)
    prompt = torch.randint(model.config.vocab_size, (1, PROMPT), generator=generator)
    options: dict[str, Any] = {"max_new_tokens": TOKENS, "do_sample": False, "pad_token_id": 0}
    truth = model.generate(prompt, **options)
    unused = set(range(model.config.vocab_size)) - set(truth.unique().tolist())
    options["eos_token_id"] = min(unused)  # it may end with each token, and does not
    model.to(device)
    there = prompt.to(device)
    ways: dict[str, Callable[[], Any]] = {
        "loop on the executor": lambda: torch.remote_accelerator.generate(  # type: ignore[attr-defined]
            model, there, **options
        ).cpu(),
        "a round trip a token": lambda: model.generate(there, **options).cpu(),
    }
    for _ in range(3):  # programs are sent, numbers lifted, rewrites compared
        tokens = {way: call() for way, call in ways.items()}
    trips = {way: _round_trips(device, call) for way, call in ways.items()}
    took = medians({way: lambda c=call: seconds(c) for way, call in ways.items()}, ROUNDS)  # type: ignore[misc]
    for way in ways:
        yield {
            "model": name,
            "way": way,
            "tokens": TOKENS,
            "ms": took[way] * 1e3,
            "round_trips": trips[way],
            "same_as_cpu": bool(torch.equal(tokens[way], truth)),
        }


def _round_trips(device: torch.device, call: Callable[[], Any]) -> int:
    import genie_core

    before = genie_core.stats(device).round_trips
    call()
    return genie_core.stats(device).round_trips - before


# A network that takes its time. ------------------------------------------------------------------


@contextlib.contextmanager
def delayed(url: str, delay: float) -> Iterator[str]:
    """The address of a proxy to `url` that holds back every byte for `delay` seconds."""
    host, port = url.removeprefix("tcp://").rsplit(":", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = (server, (host, int(port)), delay)
        threading.Thread(target=_serve, args=given, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def _serve(server: socket.socket, target: tuple[str, int], delay: float) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            peer = socket.create_connection(target)
            for source, sink in ((client, peer), (peer, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _pump(source, sink, delay)


def _pump(source: socket.socket, sink: socket.socket, delay: float) -> None:
    """Pass on what comes, each piece as late as it should be and no later."""
    waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def read() -> None:
        data = b"."
        while data:
            try:
                data = source.recv(1 << 20)
            except OSError:
                data = b""
            waiting.put((time.perf_counter() + delay, data))

    def write() -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = waiting.get()
                time.sleep(max(0.0, due - time.perf_counter()))
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)

    for work in (read, write):
        threading.Thread(target=work, daemon=True).start()
