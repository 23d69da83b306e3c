"""The Trainer of transformers, with the device named: a fine-tuning with the CPU's bits.

There is no dropout: on an accelerator its numbers come from the device's generator, while on the
CPU they share one with the order of the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance.compare import difference
from models.zoo import TEXT, missing, pretrained, tokens

pytest.importorskip("accelerate")
CPU = torch.device("cpu")
Fit = Callable[..., Any]
MEASURED = ("runtime", "per_second", "flos")


class Sentences(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __init__(self) -> None:
        self._ids = tokens(12, 9)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = self._ids[index]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def model() -> Any:
    torch.manual_seed(0)
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    options = {**TEXT, **dropout, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
    return pretrained("GPT2LMHeadModel", "GPT2Config", **options)


def figures(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if not any(part in k for part in MEASURED)}


@pytest.fixture
def fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fit]:
    """Trains on a device; returns the trainer."""
    if missing("transformers"):
        pytest.skip(missing("transformers"))
    import transformers
    from accelerate.state import AcceleratorState

    def train(where: torch.device, resume: str | None = None, **options: Any) -> Any:
        monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", str(where))
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / where.type),
            per_device_train_batch_size=4,
            num_train_epochs=2,
            learning_rate=1e-2,
            lr_scheduler_type="cosine",
            logging_steps=1,
            eval_strategy="epoch",
            save_steps=2,
            seed=5,
            report_to=[],
            disable_tqdm=True,
            **options,
        )
        assert arguments.device.type == where.type
        trainer = transformers.Trainer(
            model(), arguments, train_dataset=Sentences(), eval_dataset=Sentences()
        )
        trainer.train(resume_from_checkpoint=resume and str(tmp_path / where.type / resume))
        return trainer

    yield train
    AcceleratorState._reset_state(reset_partial_state=True)


def outcome(trainer: Any) -> list[Any]:
    """The log, the weights, and what the trained model predicts."""
    predicted = torch.from_numpy(trainer.predict(Sentences()).predictions)
    log = [figures(record) for record in trainer.state.log_history]
    return [log, dict(trainer.model.state_dict()), predicted]


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"gradient_accumulation_steps": 2, "max_grad_norm": 0.1},
    "fused": {"optim": "adamw_torch_fused", "torch_empty_cache_steps": 1},
    "smoothed": {"label_smoothing_factor": 0.1, "weight_decay": 0.01},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_fine_tuning(options: str, fit: Fit, device: torch.device) -> None:
    want, got = (fit(where, **OPTIONS[options]) for where in (CPU, device))
    assert got.model.device.type == device.type
    assert difference(outcome(want), outcome(got)) == ""


def test_resumed_from_a_checkpoint(fit: Fit, device: torch.device) -> None:
    want = fit(device)
    got = fit(device, resume="checkpoint-4")
    left, right = (dict(trainer.model.state_dict()) for trainer in (want, got))
    left = {name: value.cpu() for name, value in left.items()}
    assert difference(left, right, device.type) == ""
