"""An encoder and a decoder, as T5 has them and as fairseq has them."""

from __future__ import annotations

import torch
from torch import nn

from ..inputs import VOCABULARY
from .text import DEPTH, HEADS, WIDTH, FairseqAttention, GeGlu, LlamaNorm, ReluFfn


class RelativeBias(nn.Module):
    """A number for each head and clipped distance: (heads, queries, keys)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(9, HEADS) / 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        away = (places[None, :] - places[:, None]).clamp(-4, 4) + 4
        return self.table[away].permute(2, 0, 1)


class UnscaledAttention(nn.Module):
    """T5's: no scale, a bias that all layers share, no bias of projections."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.v, self.o = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(
        self, x: torch.Tensor, context: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        q, k, v = (
            part.view(len(part), -1, HEADS, DEPTH).transpose(1, 2)
            for part in (self.q(x), self.k(context), self.v(context))
        )
        scores = torch.matmul(q, k.transpose(3, 2))
        if bias is not None:
            scores += bias
        weights = nn.functional.softmax(scores.float(), dim=-1).type_as(scores)
        mixed = torch.matmul(weights, v).transpose(1, 2).contiguous().view(len(x), -1, WIDTH)
        found: torch.Tensor = self.o(mixed)
        return found


class RelativeBlock(nn.Module):
    """Norm before each part; the decoder's has a look at the encoder in between."""

    def __init__(self, *, cross: bool) -> None:
        super().__init__()
        self.self_attention, self.ff = UnscaledAttention(), GeGlu()
        self.cross_attention = UnscaledAttention() if cross else None
        self.norms = nn.ModuleList(LlamaNorm() for _ in range(3 if cross else 2))

    def forward(
        self, x: torch.Tensor, bias: torch.Tensor, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        normed = self.norms[0](x)
        x = x + self.self_attention(normed, normed, bias)
        if self.cross_attention is not None and context is not None:
            x = x + self.cross_attention(self.norms[1](x), context, None)
        found: torch.Tensor = x + self.ff(self.norms[-1](x))
        return found


class RelativeStack(nn.Module):
    """Blocks of which all use one bias; positions ahead are far below where there is a context."""

    def __init__(self, *, cross: bool) -> None:
        super().__init__()
        self.bias, self.final = RelativeBias(), LlamaNorm()
        self.blocks = nn.ModuleList(RelativeBlock(cross=cross) for _ in range(2))

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        bias = self.bias(x)
        if context is not None:
            bias = bias + torch.full_like(bias[0], -1e4).triu(1)
        for block in self.blocks:
            x = block(x, bias, context)
        found: torch.Tensor = self.final(x)
        return found


class RelativePair(nn.Module):
    """T5-like: shared tokens, two stacks, scores by the tokens' vectors, scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(VOCABULARY, WIDTH)
        self.encoder, self.decoder = RelativeStack(cross=False), RelativeStack(cross=True)
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.lm_head.weight = self.shared.weight

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        known = self.encoder(self.shared(x))
        found = self.decoder(self.shared(y), known)
        scores: torch.Tensor = self.lm_head(found * WIDTH**-0.5)
        return scores


class PostNormBlock(nn.Module):
    """A norm of each sum, as in the first transformer; (length, batch, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.feed_forward = FairseqAttention(), ReluFfn()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.drop(self.self_attn(x)))
        found: torch.Tensor = self.norm2(x + self.drop(self.feed_forward(x)))
        return found


class PostNormCrossBlock(PostNormBlock):
    """The same with a look at the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder_attn, self.norm3 = FairseqAttention(), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        x = self.norm1(x + self.drop(self.self_attn(x)))
        x = self.norm3(x + self.drop(self.encoder_attn(x, context)))
        found: torch.Tensor = self.norm2(x + self.drop(self.feed_forward(x)))
        return found


class PostNormPair(nn.Module):
    """Two blocks read, two write."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.ModuleList(PostNormBlock() for _ in range(2))
        self.write = nn.ModuleList(PostNormCrossBlock() for _ in range(2))
        self.tokens, self.out = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        known, found = (WIDTH**0.5 * self.tokens(part.t()) for part in (x, y))
        for block in self.read:
            known = block(known)
        for block in self.write:
            found = block(found, known)
        scores: torch.Tensor = self.out(found).transpose(0, 1)
        return scores
