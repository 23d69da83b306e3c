"""MLPs, norms, adapters, losses in the field's spellings, and what looks like them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import nn

WORDS = (2, 6, 8)


class FilteredMLP(nn.Module):
    """A filter of each channel between the maps."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.filter = nn.Conv2d(16, 16, 3, padding=1, groups=16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = self.up(x).mT.unflatten(2, (2, 3))
        return x + self.down(F.gelu(self.filter(image).flatten(2).mT))


class NormedGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.norm(F.silu(self.gate(x)) * self.up(x)))


class Norm(nn.Module):
    """A norm by hand; `form` is how."""

    def __init__(self, form: Callable[[torch.Tensor], torch.Tensor], bias: bool = False) -> None:
        super().__init__()
        self.form, self.weight = form, nn.Parameter(torch.ones(8))
        self.bias = nn.Parameter(torch.zeros(8)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.weight * self.form(x)
        return x if self.bias is None else x + self.bias


def joint(x: torch.Tensor) -> torch.Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def moments(x: torch.Tensor) -> torch.Tensor:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) * torch.rsqrt((x**2).mean(-1, keepdim=True) - mean**2 + 1e-5)


def centered(x: torch.Tensor) -> torch.Tensor:
    x = x - x.mean(-1, keepdim=True)
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)


class Twice(nn.Module):
    """A map and a low-rank one beside it; `form` is how."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.base, self.form = nn.Linear(8, 8), form
        self.a, self.b = nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.form == "in the weight":
            weight = self.base.weight + self.b.weight @ self.a.weight * 0.5
            return F.linear(x, weight, self.base.bias)
        if self.form == "matrices":
            return self.base(x) + (x @ self.a.weight.mT @ self.b.weight.mT) * 0.5
        y = self.base(x)
        y += self.b(F.dropout(self.a(x), 0.0)) * 0.5
        return y


class Packed(nn.Module):
    """Weights of four bits, two in a byte; groups share a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("packed", torch.randint(0, 255, (4, 8), dtype=torch.uint8))
        self.register_buffer("scale", torch.rand(4, 4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pairs = torch.stack([self.packed & 15, self.packed >> 4], -1).flatten(1)
        weight = (pairs.to(x.dtype) - 8).unflatten(1, (4, 4)) * self.scale
        return F.linear(x, weight.flatten(1))


class Codes(nn.Module):
    """Weights as numbers of entries in a table."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(16))
        self.register_buffer("codes", torch.randint(0, 16, (4, 8)))
        self.register_buffer("scale", torch.rand(4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.table[self.codes] * self.scale)


class Losses(nn.Module):
    def __init__(self, form: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.map, self.form = nn.Linear(8, 5), form

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.form(self.map(x), target)


def soft(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    wanted = F.one_hot(target, 5).to(logits.dtype) * 0.9 + 0.02
    return -(wanted * logits.log_softmax(-1)).sum(-1).mean()


def less_sum(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    logs = logits - logits.logsumexp(-1, keepdim=True)
    return -logs.gather(-1, target[:, None]).mean()


class Pairwise(nn.Module):
    """Products of all pairs of embedded features; `form` is how."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.table, self.form = nn.Embedding(10, 4), form

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens)
        if self.form == "squares":
            return 0.5 * (x.sum(1) ** 2 - (x**2).sum(1)).sum(1)
        rows, columns = torch.triu_indices(3, 3, 1, device=x.device)
        return torch.einsum("bid,bjd->bij", x, x)[:, rows, columns]


class Codebook(nn.Module):
    """The nearest row of a table, and that row: no logits."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.table.weight
        apart = x.square().sum(-1, keepdim=True) - 2 * x @ weight.T + weight.square().sum(-1)
        return self.table(apart.argmin(-1))


class Router(nn.Module):
    """Which experts a token goes to, by `form`; what they say is mixed."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.gate = form, nn.Linear(8, 4, bias=False)
        self.bias = nn.Parameter(torch.zeros(4))
        self.experts = nn.Parameter(torch.randn(4, 8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.gate(x)
        if self.form == "corrected":
            chances = scores.sigmoid()
            chosen = (chances + self.bias).topk(2, -1).indices
            weights = chances.gather(1, chosen)
        elif self.form == "masked":
            kept = scores.topk(2, -1).values[:, -1:]
            weights = scores.masked_fill(scores < kept, float("-inf")).softmax(-1)
            return torch.einsum("te,tef->tf", weights, torch.einsum("td,edf->tef", x, self.experts))
        else:
            weights, chosen = scores.softmax(-1).topk(2, -1)
            weights = weights / weights.sum(-1, keepdim=True)
        shares = torch.zeros_like(scores).scatter(1, chosen, weights)
        return torch.einsum("te,tef->tf", shares, torch.einsum("td,edf->tef", x, self.experts))


class Guesses(nn.Module):
    """The most probable classes: nothing is routed."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> tuple:
        return self.map(x).softmax(-1).topk(2, -1)


class Parallel(nn.Module):
    """What came in, and what two maps made of it, one after the other added."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.one(x) + self.other(x)


class Dropped(nn.Module):
    """Dropout by hand; `form` is how."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.map = form, nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.map(x)
        if self.form == "compared":
            kept = (torch.rand_like(y) > 0.2).to(y.dtype)
            y = y * kept / 0.8
        elif self.form == "scaled":
            y = y * torch.empty_like(y[:, :1]).bernoulli_(0.8).div_(0.8)
        else:
            y = y.div(0.8) * (0.8 + torch.rand_like(y[:, :1])).floor()
        return x + y


def normed_mlp(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), *between, nn.Linear(16, 8))


MLP, LOSS, CLASSES = {"mlp": 1}, {"softmax_cross_entropy": 1}, ((4,), 5)

CASES = {
    "mlp, batch norm": (normed_mlp(nn.BatchNorm1d(16), nn.ReLU()), [(2, 8)], MLP),
    "mlp, layer norm": (normed_mlp(nn.GELU(), nn.LayerNorm(16)), [WORDS], {**MLP, "layer_norm": 1}),
    "mlp, filtered": (FilteredMLP(), [WORDS], {**MLP, "residual": 1}),
    "maps, no activation": (normed_mlp(nn.LayerNorm(16)), [WORDS], {"layer_norm": 1}),
    "gated mlp, normed": (NormedGate(), [WORDS], {"gated_mlp": 1, "layer_norm": 1}),
    "layer norm, joint": (Norm(joint, bias=True), [WORDS], {"layer_norm": 1}),
    "layer norm, moments": (Norm(moments, bias=True), [WORDS], {"layer_norm": 1}),
    "layer norm, no bias": (Norm(centered), [WORDS], {"layer_norm": 1}),
    "rms norm, unit": (Norm(lambda x: F.normalize(x, dim=-1) * 8**0.5), [WORDS], {"rms_norm": 1}),
    "unit vectors, made longer": (Norm(lambda x: F.normalize(x, dim=-1) * 30), [WORDS], {}),
    **{
        f"lora, {form}": (Twice(form), [WORDS], {"lora": 1})
        for form in ("in place", "matrices", "in the weight")
    },
    "quantized, packed": (Packed(), [(2, 16)], {"quantized_linear": 1}),
    "quantized, codes": (Codes(), [(2, 8)], {"quantized_linear": 1}),
    "loss, soft": (Losses(soft), [(4, 8), CLASSES], LOSS),
    "loss, less the sum": (Losses(less_sum), [(4, 8), CLASSES], LOSS),
    "loss, smooth": (
        Losses(lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1)),
        [(4, 8), CLASSES],
        LOSS,
    ),
    **{
        f"interaction, {form}": (
            Pairwise(form),
            [((2, 3), 10)],
            {"embedding": 1, "feature_interaction": 1},
        )
        for form in ("squares", "products")
    },
    "codebook": (Codebook(), [(4, 8)], {"embedding": 1}),
    **{
        f"router, {form}": (Router(form), [(6, 8)], {"moe_routing": 1})
        for form in ("normed", "corrected", "masked")
    },
    **{
        f"dropout, {form}": (Dropped(form), [WORDS], {"dropout": 1, "residual": 1})
        for form in ("compared", "scaled", "floored")
    },
    "guesses": (Guesses(), [(6, 8)], {}),
    "sums, one after the other": (Parallel(), [WORDS], {"residual": 2}),
}
