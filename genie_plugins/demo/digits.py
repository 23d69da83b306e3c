"""Part one of the demo: a small CNN learns scikit-learn's 1,797 handwritten digits."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from genie_plugins.demo.report import Outcome, measured, timed

if TYPE_CHECKING:
    from rich.console import Console

EPOCHS = 15
BATCH = 64
WANTED_ACCURACY = 0.97


@attrs.frozen
class Digits:
    """Images (N, 1, 8, 8) in [0, 1] and labels, split into training and test."""

    train: TensorDataset
    test_images: torch.Tensor
    test_labels: torch.Tensor

    @property
    def steps(self) -> int:
        """The optimizer steps of a whole training."""
        return EPOCHS * -(-len(self.train) // BATCH)


@attrs.frozen
class Training:
    """A loss for each step, and the share of test images that were recognised."""

    losses: list[float]
    accuracy: float


def load() -> Digits:
    """The data set, a quarter of it held back as the test."""
    source = load_digits()
    images = torch.tensor(source.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(source.target)
    chosen = train_test_split(range(len(labels)), test_size=0.25, random_state=0, stratify=labels)
    train, test = (torch.tensor(part) for part in chosen)
    return Digits(TensorDataset(images[train], labels[train]), images[test], labels[test])


def make_model() -> nn.Module:
    """Two convolutions and two linear layers, with dropout, so that random bits count too."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(64, 10),
    )


def train(device: torch.device, digits: Digits, advance: Callable[[float], None]) -> Training:
    """An ordinary training loop; `advance` is told each step's loss."""
    torch.manual_seed(0)
    model = make_model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    order = torch.Generator().manual_seed(1)
    loader = DataLoader(digits.train, BATCH, shuffle=True, generator=order)
    # Each device has a generator of its own; the CPU's has made the weights by now.
    torch.manual_seed(2)
    losses = []
    for _ in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            output = model(images.to(device))
            loss = nn.functional.cross_entropy(output, labels.to(device))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            advance(losses[-1])
    return Training(losses, _accuracy(model, device, digits))


@torch.no_grad()
def _accuracy(model: nn.Module, device: torch.device, digits: Digits) -> float:
    model.eval()
    answers = model(digits.test_images.to(device)).argmax(1).cpu()
    return float((answers == digits.test_labels).double().mean())


def compare(console: Console, device: torch.device) -> Outcome:
    """Train on `device` and on the local CPU, and compare the losses bit for bit."""
    digits = load()
    console.print(
        f"Training a CNN on {len(digits.train)} handwritten digits,"
        f" to read {len(digits.test_labels)} others"
    )
    with _progress(console) as progress:

        def run(where: torch.device, name: str) -> Training:
            task = progress.add_task(name, total=digits.steps, loss=0.0)
            return train(where, digits, lambda loss: progress.update(task, advance=1, loss=loss))

        there, device_s, stats = measured(device, lambda: run(device, str(device)))
        here, local_s = timed(lambda: run(torch.device("cpu"), "local CPU"))
    same = sum(map(_same_bits, there.losses, here.losses))
    verdict = f"{same} of {len(here.losses)} losses"
    problems = _problems(there, verdict if same < len(here.losses) else "")
    return Outcome("CNN training", there.accuracy, verdict, problems, stats, device_s, local_s)


def _progress(console: Console) -> Progress:
    loss = TextColumn("loss {task.fields[loss]:.4f}")
    name = TextColumn("{task.description:>20}")
    columns = (name, BarColumn(), MofNCompleteColumn(), loss, TimeElapsedColumn())
    return Progress(*columns, console=console)


def _same_bits(left: float, right: float) -> bool:
    return struct.pack("d", left) == struct.pack("d", right)


def _problems(training: Training, differing: str) -> tuple[str, ...]:
    problems = []
    if differing:
        problems.append(f"only {differing} have the CPU's bits")
    if training.accuracy < WANTED_ACCURACY:
        problems.append(f"test accuracy {training.accuracy:.2%}, wanted {WANTED_ACCURACY:.0%}")
    return tuple(problems)
