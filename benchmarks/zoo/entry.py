"""A model of the zoo, and what is done with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
import torch
from torch import nn
from torch.utils._pytree import tree_flatten

if TYPE_CHECKING:
    from .calls import Calls

Batch = Mapping[str, Any]
Optimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
GENERATED = 3


@attrs.frozen
class Run:
    """One thing that is done with a model: a training step, a forward, a generation."""

    kind: Literal["train", "eval", "generate"]
    batch: int = 1
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        return f"{self.kind}, batch {self.batch}, {str(self.dtype).removeprefix('torch.')}"


TRAIN, EVAL = Run("train", 3), Run("eval")
HALF = Run("eval", 3, torch.bfloat16)
HALF_TRAIN = Run("train", 1, torch.bfloat16)
GENERATE = Run("generate", 2)
USUAL = (TRAIN, EVAL, HALF)


def adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of most entries."""
    return torch.optim.AdamW(parameters)


@attrs.frozen
class Entry:
    """A model of the zoo.

    `make` builds it on the CPU, with whatever seed is set; `batch` gives the keyword arguments of
    a forward for as many examples. A model that computes no loss has that of `loss`, which is given
    what the model returns, or the mean square of all that it returns.
    """

    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[int], Batch]
    runs: tuple[Run, ...] = USUAL
    optimizer: Optimizer = adamw
    loss: Callable[[torch.Tensor], torch.Tensor] | None = None
    negative: bool = False
    """Nothing in it is an instance of any family."""


def prepare(
    entry: Entry, run: Run, device: torch.device
) -> tuple[nn.Module, Callable[[Calls], object]]:
    """The model on the device, and what does the run when it is called."""
    torch.manual_seed(0)
    model = entry.make().to(device=device, dtype=run.dtype).train(run.kind == "train")
    batch = {k: _placed(v, device, run.dtype) for k, v in entry.batch(run.batch).items()}
    if run.kind == "train":
        optimizer = entry.optimizer([p for p in model.parameters() if p.requires_grad])
        return model, lambda calls: _train(entry, model, batch, optimizer, calls)
    if run.kind == "eval":
        return model, lambda calls: _evaluate(model, batch, calls)
    batch.pop("labels", None)
    return model, lambda calls: _generate(model, batch, calls)


def _placed(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(device, dtype if value.is_floating_point() else value.dtype)


def _train(
    entry: Entry, model: nn.Module, batch: Batch, optimizer: torch.optim.Optimizer, calls: Calls
) -> None:
    with calls.within("run", "forward"):
        loss = _loss(entry, model(**batch))
    with calls.within("run", "backward"):
        loss.backward()
    with calls.within("run", "optimizer"):
        optimizer.step()
    optimizer.zero_grad()


def _loss(entry: Entry, output: Any) -> torch.Tensor:
    found = getattr(output, "loss", None)
    if isinstance(found, torch.Tensor):
        return found
    if entry.loss is not None:
        return entry.loss(getattr(output, "logits", output))
    leaves = [leaf for leaf in tree_flatten(output)[0] if isinstance(leaf, torch.Tensor)]
    return torch.stack([leaf.float().square().mean() for leaf in leaves]).sum()


@torch.no_grad()
def _evaluate(model: nn.Module, batch: Batch, calls: Calls) -> None:
    with calls.within("run", "eval"):
        model(**batch)


def _generate(model: Any, batch: Batch, calls: Calls) -> None:
    wanted = {"max_new_tokens": GENERATED, "do_sample": False, "pad_token_id": 0}
    with calls.within("run", "generate"):
        model.generate(**batch, **wanted)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings of transformers' while models of a few weights are made and run."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
