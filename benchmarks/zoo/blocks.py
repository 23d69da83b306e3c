"""Norms, MLPs and blocks by hand, and small models of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .attentions import WIDTH, CrossAttention, FusedAttention
from .inputs import VOCABULARY

Make = Callable[[], nn.Module]


class ManualLayerNorm(nn.Module):
    """Layer norm from mean and variance."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        spread = centred.pow(2).mean(-1, keepdim=True)
        return centred / torch.sqrt(spread + 1e-5) * self.weight + self.bias


class VarLayerNorm(ManualLayerNorm):
    """Layer norm by torch's variance."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spread = x.var(-1, unbiased=False, keepdim=True)
        scaled = (x - x.mean(-1, keepdim=True)) * torch.rsqrt(spread + 1e-5)
        return self.weight * scaled + self.bias


class SquareRmsNorm(nn.Module):
    """RMS norm by a quotient."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class ProductRmsNorm(SquareRmsNorm):
    """RMS norm with `x * x`, the weight first, in float."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        scale = (wide * wide).mean(-1, keepdim=True).add(1e-6).rsqrt()
        return self.weight * (wide * scale).to(x.dtype)


class LengthRmsNorm(SquareRmsNorm):
    """RMS norm by a vector's length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length: torch.Tensor = x.norm(dim=-1, keepdim=True)
        scaled: torch.Tensor = x / (length * WIDTH**-0.5 + 1e-6) * self.weight
        return scaled


class FeedForward(nn.Sequential):
    """Linear, activation, linear."""

    def __init__(self, activation: nn.Module | None = None) -> None:
        widen, narrow = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(3 * WIDTH, WIDTH)
        super().__init__(widen, activation or nn.GELU(), nn.Dropout(0.1), narrow)


class FusedGatedMlp(nn.Module):
    """SwiGLU with one product for gate and value."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.narrow = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.widen(x).chunk(2, -1)
        mixed: torch.Tensor = self.narrow(value * nn.functional.silu(gate))
        return mixed


class GluGatedMlp(FusedGatedMlp):
    """`glu`: the gate by a sigmoid."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.narrow(nn.functional.glu(self.widen(x)))
        return mixed


class TinyBlock(nn.Module):
    """Norm, attention, sum, norm, MLP, sum."""

    def __init__(self, attention: Make, norm: Make, mlp: Make) -> None:
        super().__init__()
        self.attention, self.mlp = attention(), mlp()
        self.before, self.between = norm(), norm()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.before(x))
        mixed: torch.Tensor = self.mlp(self.between(x))
        return mixed + x


class TiedHead(nn.Module):
    """Scores of tokens by the embedding's own weight."""

    def __init__(self, tokens: nn.Embedding) -> None:
        super().__init__()
        self.weight = tokens.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight)


class TinyDecoder(nn.Module):
    """A language model of tiny blocks with a tied head."""

    def __init__(
        self, attention: Make = FusedAttention, norm: Make | None = None, mlp: Make = FeedForward
    ) -> None:
        super().__init__()
        norm = norm or (lambda: nn.LayerNorm(WIDTH))
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.Sequential(*(TinyBlock(attention, norm, mlp) for _ in range(2)))
        self.norm, self.head = norm(), TiedHead(self.tokens)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.norm(self.blocks(self.tokens(x))))
        return scores


class CrossBlock(nn.Module):
    """A block that looks at another sequence too; after each part, a norm of the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.cross, self.mlp = CrossAttention(), FeedForward(nn.ReLU())
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        x = self.first(x + self.cross(x, context))
        found: torch.Tensor = self.second(x + self.mlp(x))
        return found


class MeanPoolClassifier(nn.Module):
    """Embeddings, a block, their mean, a class."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.block = TinyBlock(FusedAttention, SquareRmsNorm, FusedGatedMlp)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.block(self.tokens(x)).mean(1))
        return scores


class ManualCrossEntropy(nn.Module):
    """Softmax cross-entropy from `logsumexp`."""

    def forward(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        chosen = scores.gather(1, labels[:, None]).squeeze(1)
        return (scores.logsumexp(1) - chosen).mean()


class Classifier(nn.Module):
    """An MLP and its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = FeedForward(nn.SiLU())
        self.loss = ManualCrossEntropy()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.loss(self.mlp(x), x.argmax(1))
        return found


class LoraLinear(nn.Module):
    """A frozen linear map and a low-rank addition."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, out).requires_grad_(requires_grad=False)
        self.lora_a, self.lora_b = nn.Linear(width, 2, bias=False), nn.Linear(2, out, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.base(x) + self.lora_b(self.lora_a(x)) * 0.5
        return found


class MatrixLoraLinear(LoraLinear):
    """The same with matrices, and the scale in between."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.base(x)
        return found.add(self.lora_b(2.0 * self.lora_a(x)))


class QuantizedLinear(nn.Module):
    """A weight of int8, turned to floats on the fly."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(-99, 99, (out, width), dtype=torch.int8))
        self.register_buffer("scale", torch.rand(out, 1) / 100)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale, self.bias)


class ScaledAfterQuantizedLinear(QuantizedLinear):
    """The same with the scale after the product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale[:, 0] + self.bias


class Router(nn.Module):
    """Which experts a token goes to, and with what weight."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 4, bias=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chances, chosen = torch.topk(self.gate(x).softmax(-1), 2)
        return chances, chosen


class MixtureOfExperts(nn.Module):
    """All experts are computed; those not chosen have weight 0."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router()
        self.experts = nn.Parameter(torch.randn(4, WIDTH, WIDTH) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chances, chosen = self.router(x)
        weights = torch.zeros_like(x[..., :4]).scatter(-1, chosen, chances)
        return torch.einsum("...w,ewv,...e->...v", x, self.experts, weights)
