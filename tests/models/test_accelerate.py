"""accelerate, on the device that ACCELERATE_TORCH_DEVICE names: fine-tuning with the CPU's bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance.compare import difference
from models.zoo import TEXT, missing, pretrained
from torch import nn
from torch.nn import functional

accelerate = pytest.importorskip("accelerate")
CPU = torch.device("cpu")
Start = Callable[..., Any]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """`Accelerator` on a device; what it keeps for the whole process is forgotten each time."""

    def fresh(where: torch.device, **options: Any) -> Any:
        monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", str(where))
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
        return accelerate.Accelerator(**options)

    yield fresh
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def prepared(accelerator: Any) -> tuple[Any, Any, Any, Any]:
    """Model, optimizer, loader and schedule; no dropout, whose numbers are a device's own."""
    accelerate.utils.set_seed(3)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    data = torch.utils.data.TensorDataset(torch.randn(24, 6), torch.randint(3, (24,)))
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    found: tuple[Any, Any, Any, Any] = accelerator.prepare(model, optimizer, loader, schedule)
    return found


def fine_tune(accelerator: Any, objects: tuple[Any, Any, Any, Any]) -> list[torch.Tensor]:
    """One epoch with gradient accumulation and clipping; returns the losses."""
    model, optimizer, loader, schedule = objects
    losses = []
    for inputs, labels in loader:
        with accelerator.accumulate(model):
            loss = functional.cross_entropy(model(inputs), labels)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        losses.append(accelerator.gather(loss).detach())
    return losses


def test_fine_tuning(start: Start, device: torch.device) -> None:
    def run(where: torch.device) -> Any:
        accelerator = start(where, gradient_accumulation_steps=2)
        objects = prepared(accelerator)
        losses = fine_tune(accelerator, objects)
        return losses, dict(accelerator.unwrap_model(objects[0]).state_dict())

    want, got = run(CPU), run(device)
    assert len(got[0]) == 6
    assert difference(want, got, device.type) == ""


def test_saved_state_is_restored(start: Start, device: torch.device, tmp_path: Path) -> None:
    accelerator = start(device)
    objects = prepared(accelerator)
    fine_tune(accelerator, objects)
    accelerator.save_state(str(tmp_path))
    saved = {name: value.cpu() for name, value in objects[0].state_dict().items()}
    first = fine_tune(accelerator, objects)
    accelerator.load_state(str(tmp_path))
    assert difference(saved, dict(objects[0].state_dict()), device.type) == ""
    assert len(fine_tune(accelerator, objects)) == len(first)


def test_weights_are_loaded_onto_the_device(device: torch.device, tmp_path: Path) -> None:
    if missing("transformers"):
        pytest.skip(missing("transformers"))
    import transformers

    torch.manual_seed(0)
    options = {**TEXT, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    local: Any = pretrained("GPT2LMHeadModel", "GPT2Config", **options).eval()
    local.save_pretrained(tmp_path)
    load = transformers.AutoModelForCausalLM.from_pretrained
    remote = load(tmp_path, device_map={"": str(device)}).eval()
    ids = torch.arange(6)[None] + 3
    with torch.no_grad():
        want, got = local(ids).logits, remote(ids.to(device)).logits
    assert difference(want, got, device.type) == ""


def test_weights_stay_on_the_host(device: torch.device) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 2)), torch.randn(3, 4)
    with torch.no_grad():
        want = model(inputs)
        accelerate.cpu_offload(model, execution_device=device)
        got = model(inputs.to(device))
    assert difference(want, got, device.type) == ""
