"""Language models by hand: norms, attention and MLPs as the field's repositories spell them."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from ..inputs import VOCABULARY

WIDTH, HEADS = 16, 2
DEPTH = WIDTH // HEADS


class LlamaNorm(nn.Module):
    """RMS norm as in Meta's code."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
        return scaled.type_as(x) * self.weight


class BertNorm(nn.Module):
    """Layer norm as in BERT's first code for torch."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(-1, keepdim=True)
        spread = (x - mean).pow(2).mean(-1, keepdim=True)
        return self.gamma * ((x - mean) / torch.sqrt(spread + 1e-12)) + self.beta


class PowerNorm(BertNorm):
    """Layer norm from `var_mean` and a power."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spread, mean = torch.var_mean(x, dim=-1, unbiased=False, keepdim=True)
        return (x - mean) * (spread + 1e-6) ** -0.5 * self.gamma + self.beta


class ReluFfn(nn.Module):
    """Linear, ReLU, dropout, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(WIDTH, 40), nn.Linear(40, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.w_2(self.dropout(functional.relu(self.w_1(x))))
        return found


class TanhGeluFfn(nn.Module):
    """GPT-2's own GELU, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(WIDTH, 40), nn.Linear(40, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.c_fc(x)
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))
        found: torch.Tensor = self.c_proj(0.5 * x * (1 + torch.tanh(inner)))
        return found


class SwiGlu(nn.Module):
    """Meta's: the second product of the gate with a third map."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w3 = (nn.Linear(WIDTH, 40, bias=False) for _ in range(2))
        self.w2 = nn.Linear(40, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.w2(functional.silu(self.w1(x)) * self.w3(x))
        return found


class GeGlu(nn.Module):
    """lucidrains': one map, in halves, of which the second goes through a GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(WIDTH, 64), nn.Linear(32, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, gate = self.widen(x).chunk(2, dim=-1)
        found: torch.Tensor = self.narrow(self.dropout(x * functional.gelu(gate)))
        return found


class SelfAttention(nn.Module):
    """nanoGPT's slow path: a fused projection, a mask in a buffer, a masked fill."""

    mask: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.attn_dropout = nn.Dropout(0.1)
        self.register_buffer("mask", torch.tril(torch.ones(32, 32)).view(1, 1, 32, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.size()
        q, k, v = (
            part.view(batch, length, HEADS, DEPTH).transpose(1, 2)
            for part in self.c_attn(x).split(WIDTH, dim=2)
        )
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        scores = scores.masked_fill(self.mask[:, :, :length, :length] == 0, float("-inf"))
        mixed = self.attn_dropout(functional.softmax(scores, dim=-1)) @ v
        mixed = mixed.transpose(1, 2).contiguous().view(batch, length, width)
        found: torch.Tensor = self.c_proj(mixed)
        return found


class FairseqAttention(nn.Module):
    """fairseq's: (length, batch, width), heads in the batch, `bmm`, softmax in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.k_proj, self.v_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.q_proj, self.out_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        context = x if context is None else context
        length, batch, _ = x.shape
        q = self._heads(self.q_proj(x) * DEPTH**-0.5)
        k, v = self._heads(self.k_proj(context)), self._heads(self.v_proj(context))
        scores = torch.bmm(q, k.transpose(1, 2))
        weights = functional.softmax(scores, dim=-1, dtype=torch.float32).type_as(scores)
        mixed = torch.bmm(weights, v).transpose(0, 1).contiguous().view(length, batch, WIDTH)
        found: torch.Tensor = self.out_proj(mixed)
        return found

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous().view(x.shape[0], -1, DEPTH).transpose(0, 1)


class OpenAttention(nn.Module):
    """lucidrains': a fused projection without bias, every position looks at all."""

    def __init__(self) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(WIDTH, WIDTH * 3, bias=False)
        self.to_out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            part.unflatten(-1, (HEADS, DEPTH)).movedim(2, 1)
            for part in self.to_qkv(x).chunk(3, dim=-1)
        )
        dots = torch.matmul(q, k.transpose(-1, -2)) * DEPTH**-0.5
        mixed = torch.matmul(dots.softmax(-1), v).movedim(1, 2).flatten(2)
        found: torch.Tensor = self.to_out(mixed)
        return found


class BandAttention(nn.Module):
    """A band mask from two triangles, given to torch's own function."""

    def __init__(self, reach: int = 3) -> None:
        super().__init__()
        self.reach, self.wqkv = reach, nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.wo = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[1]
        q, k, v = (
            part.unflatten(-1, (HEADS, DEPTH)).transpose(1, 2) for part in self.wqkv(x).chunk(3, -1)
        )
        ones = torch.ones(length, length, dtype=torch.bool, device=x.device)
        band = ones.tril() & ones.triu(-self.reach + 1)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=band)
        found: torch.Tensor = self.wo(mixed.transpose(1, 2).flatten(2))
        return found


class LinearBiasAttention(nn.Module):
    """ALiBi as MosaicML has it: the bias of all heads is one row, added to the scores."""

    slopes: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        powers = torch.arange(1, HEADS + 1) * (8 / HEADS)
        self.register_buffer("slopes", (1.0 / torch.pow(2, powers)).view(1, HEADS, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, HEADS, DEPTH).permute(2, 0, 3, 1, 4)
        away = torch.arange(1 - length, 1, dtype=x.dtype, device=x.device).view(1, 1, 1, length)
        scores = torch.matmul(q, k.transpose(2, 3)) * DEPTH**-0.5 + away * self.slopes
        ahead = torch.ones(length, length, device=x.device, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(ahead, torch.finfo(scores.dtype).min)
        mixed = torch.matmul(torch.softmax(scores, dim=-1), v)
        found: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        return found


class FusedLinearBiasAttention(LinearBiasAttention):
    """ALiBi by distances, as the mask of torch's own function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, HEADS, DEPTH).permute(2, 0, 3, 1, 4)
        places = torch.arange(length, device=x.device)
        away = (places[:, None] - places[None, :]).abs().neg()
        bias = (away * self.slopes).masked_fill(away.triu(1) < 0, float("-inf"))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(x.dtype))
        found: torch.Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        return found


class PreNorm(nn.Module):
    """A transformer's block with its norms before."""

    def __init__(
        self, attention: type[nn.Module], norm: type[nn.Module], mlp: type[nn.Module]
    ) -> None:
        super().__init__()
        self.attention, self.feed_forward = attention(), mlp()
        self.attention_norm, self.ffn_norm = norm(), norm()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x))
        found: torch.Tensor = x + self.feed_forward(self.ffn_norm(x))
        return found


class LanguageModel(nn.Module):
    """Tokens, blocks, a norm, and scores by the tokens' own vectors or by a map of its own."""

    def __init__(
        self,
        attention: type[nn.Module],
        norm: type[nn.Module],
        mlp: type[nn.Module],
        *,
        tied: bool = False,
        places: bool = False,
    ) -> None:
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, WIDTH)
        self.wpe = nn.Embedding(32, WIDTH) if places else None
        self.layers = nn.ModuleList(PreNorm(attention, norm, mlp) for _ in range(2))
        self.norm, self.lm_head = norm(), nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.wte(x)
        if self.wpe is not None:
            found = found + self.wpe(torch.arange(x.shape[1], device=x.device))
        for block in self.layers:
            found = block(found)
        scores: torch.Tensor = self.lm_head(self.norm(found))
        return scores
