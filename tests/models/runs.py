"""What is done with a model of the zoo, on any device: forward, generate, three training steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

if TYPE_CHECKING:
    from models.zoo import Entry

STEPS = 3
Wrap = Callable[[nn.Module], Any]


def as_it_is(model: nn.Module) -> nn.Module:
    """Return the model itself."""
    return model


def build(entry: Entry, device: torch.device, *, train: bool) -> nn.Module:
    """Make the model on the CPU, with the same weights each time, and bring it to `device`."""
    torch.manual_seed(0)
    return entry.make().to(device).train(train)


def moved(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Bring what is a tensor to `device`."""
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


def plain(output: Any) -> Any:
    """Return a model's output without the classes of the library that made it."""
    if isinstance(output, Mapping):
        return {name: plain(part) for name, part in output.items()}
    if isinstance(output, tuple | list):
        return [plain(part) for part in output]
    if isinstance(output, torch.Tensor | int | float | None):
        return output
    return plain(vars(output)) if hasattr(output, "__dict__") else None  # a cache, its settings


def forward(entry: Entry, device: torch.device, wrap: Wrap = as_it_is) -> Any:
    """Return all that the model, as `wrap` gives it back, gives in evaluation."""
    model = wrap(build(entry, device, train=False))
    with torch.no_grad():
        return plain(model(**moved(entry.batch(), device)))


def generate(entry: Entry, device: torch.device) -> Any:
    """Return greedily chosen tokens, each with the logits that it was chosen from."""
    assert entry.generate is not None
    model: Any = build(entry, device, train=False)
    if entry.settle is not None:
        entry.settle(model)
    return plain(model.generate(**moved(entry.generate(), device)))


def loss_of(output: Any) -> torch.Tensor:
    """Return the model's own loss, or one made of all the floats that it gives."""
    if isinstance(output, Mapping) and output.get("loss") is not None:
        loss: torch.Tensor = output["loss"]
        return loss
    return torch.stack([leaf.square().mean() for leaf in tree_flatten(output)[0]]).sum()


def training(entry: Entry, device: torch.device, wrap: Wrap = as_it_is) -> Any:
    """Return losses, learning rates and the weights after some steps of AdamW with a schedule."""
    model = build(entry, device, train=True)
    called = wrap(model)
    batch = moved(entry.batch(), device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    torch.manual_seed(1)
    losses, rates = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(called(**batch))
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        rates.append(schedule.get_last_lr())
    return {"losses": losses, "rates": rates, "weights": dict(model.state_dict())}


RUNS: dict[str, Callable[[Entry, torch.device], Any]] = {
    "forward": forward,
    "generate": generate,
    "training": training,
}


def applies(entry: Entry, run: str) -> bool:
    """Whether this model can do that."""
    return run != "generate" or entry.generate is not None
