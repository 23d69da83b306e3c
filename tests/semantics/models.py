"""Small models with random weights, and what goes into them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

VOCABULARY = 61


def transformers() -> Any:
    found = pytest.importorskip("transformers")
    if not found.utils.is_torch_available():
        pytest.skip("this transformers does not support this torch")
    return found


def tokens(*size: int) -> torch.Tensor:
    return torch.randint(2, VOCABULARY, size, generator=torch.Generator().manual_seed(1))


def gpt2(attention: str = "eager", layers: int = 2) -> nn.Module:
    hf = transformers()
    torch.manual_seed(0)
    config = hf.GPT2Config(
        vocab_size=VOCABULARY,
        n_layer=layers,
        n_head=2,
        n_embd=16,
        n_positions=32,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation=attention,
    )
    return hf.GPT2LMHeadModel(config)


def t5() -> nn.Module:
    hf = transformers()
    torch.manual_seed(0)
    config = hf.T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    return hf.T5ForConditionalGeneration(config)


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)))


class CNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = Block(3, 4), nn.Sequential(Block(4, 4), Block(4, 8))
        self.pool, self.head = nn.AdaptiveAvgPool2d(2), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.body(x)
        return self.head(self.pool(x).flatten(1))


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 6)
        self.lstm = nn.LSTM(6, 7, num_layers=2, batch_first=True)
        self.head = nn.Linear(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embed(x))[0][:, -1])
