"""Convolutional parts as libraries and papers spell them, each with what has to be found in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import nn

IMAGE = (2, 8, 8, 8)


class Residual(nn.Sequential):
    """Modules in a row, and what they were given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class Shortcut(nn.Module):
    """Two ways that meet in a sum."""

    def __init__(self, main: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.main, self.other = main, other

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x) + self.other(x)


class Excite(nn.Module):
    """Channels weighted by what `maps` make of their means; `form` is how that is spelled."""

    def __init__(self, maps: nn.Module, form: str = "mean") -> None:
        super().__init__()
        self.maps, self.form = maps, form

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.form == "twice":
            gate = self.maps(x.mean(3).mean(2))[..., None, None]
        elif self.form == "flat":
            gate = self.maps(x.flatten(2).mean(-1)).view(*x.shape[:2], 1, 1).expand_as(x)
        elif self.form == "average":
            gate = self.maps(F.avg_pool2d(x, x.shape[2:]))
        elif self.form == "by hand":
            gate = F.relu6(self.maps(x.mean((2, 3), keepdim=True)) + 3.0) / 6.0
        else:
            gate = self.maps(x.mean((2, 3), keepdim=True))
        return gate * x


def convs(*inner: nn.Module, width: int = 8, gate: nn.Module | None = None) -> nn.Sequential:
    down, up = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)
    return nn.Sequential(down, *(inner or (nn.SiLU(),)), up, gate or nn.Sigmoid())


def linears() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8), nn.Sigmoid())


def depthwise(width: int = 8, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)


def mbconv(act: type[nn.Module], excite: nn.Module, norm: type[nn.Module]) -> nn.Module:
    """Widen, filter each channel, weigh the channels, narrow."""
    wide = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), norm(16), act())
    deep = nn.Sequential(depthwise(16, 5), norm(16), act(), excite)
    return Residual(wide, deep, nn.Conv2d(16, 8, 1, bias=False), norm(8))


class ChannelsLast(nn.Module):
    """Modules of (batch, height, width, channels)."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FirstNorm(nn.Module):
    """A layer norm of channels that come first."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(1, keepdim=True)
        spread = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(spread + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((8, 1, 1), 0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gamma * x


class FixedNorm(nn.Module):
    """A batch norm with fixed statistics, written out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "mean", "variance"):
            self.register_buffer(name, torch.rand(width) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.weight * (self.variance + 1e-5).rsqrt()
        bias = self.bias - self.mean * scale
        return x * scale.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def convnext() -> nn.Module:
    last = ChannelsLast(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
    return Residual(depthwise(kernel=7), last, LayerScale())


def preact(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, out, 3, padding=1),
        nn.GroupNorm(2, out),
        nn.SiLU(),
        nn.Conv2d(out, out, 3, padding=1),
    )


class Patches(nn.Module):
    """A convolution whose result is read as a sequence, with a norm, behind it a block's sum."""

    def __init__(self, inputs: int, kernel: int, stride: int, norm: bool = True) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, 16, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(16) if norm else nn.Identity()
        self.inner = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.project(x).flatten(2).transpose(1, 2))
        return x + self.inner(x)


class NormedPatches(nn.Module):
    """Patches by reshaping, a norm of each before the map and one behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 16), nn.LayerNorm(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = x.unflatten(2, (-1, 4)).unflatten(4, (-1, 4)).permute(0, 2, 4, 3, 5, 1)
        return self.inner(patches.flatten(3).flatten(1, 2))


class UnfoldedPatches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(48, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(F.unfold(x, 4, stride=4).mT)


class ReducedKeys(nn.Module):
    """Attention to fewer positions, by a convolution with a stride: no patches of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce, self.norm = nn.Conv2d(8, 8, 2, 2), nn.LayerNorm(8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = x.mT.unflatten(2, (4, 4))
        few = self.norm(self.reduce(image).flatten(2).transpose(1, 2))
        return F.scaled_dot_product_attention(self.query(x), self.key(few), self.value(few))


class Head(nn.Module):
    """Pooled features and a linear map of them; `form` is how that is spelled."""

    def __init__(self, form: str, width: int = 8) -> None:
        super().__init__()
        self.form, self.power = form, nn.Parameter(torch.tensor(3.0))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.form == "tokens, normed":
            x = self.norm(x.mean(1))
        elif self.form == "adaptive, 1d":
            x = F.adaptive_avg_pool1d(x.mT, 1).flatten(1)
        elif self.form == "masked":
            mask = (x[..., :1] > 0).to(x.dtype)
            x = (x * mask).sum(1) / mask.sum(1).clamp(min=1)
        elif self.form == "gem":
            x = F.avg_pool2d(x.clamp(min=1e-6).pow(self.power), x.shape[2:])
            x = x.pow(1.0 / self.power).flatten(1)
        elif self.form == "max and average":
            x = (x.amax((2, 3)) + x.mean((2, 3))) * 0.5
        elif self.form == "joined":
            x = torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)
        elif self.form == "largest":
            x = x.max(1).values
        else:
            x = F.avg_pool2d(x, x.shape[2:])[..., 0, 0]
        return self.head(x)


class AddedSkip(nn.Module):
    """A net that is small in the middle; what was before is added, or put beside."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.down, self.deep = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(8, 3, 1)
        self.wide = nn.Conv2d(16 if "cat" in form else 8, 8, 3, padding=1)
        self.norm, self.shuffle = nn.GroupNorm(2, 8), nn.Conv2d(8, 32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(x))
        y = F.relu(self.deep(F.relu(self.down(x))))
        if "transposed" in self.form:
            y = F.silu(self.norm(self.up(y)))
        elif "shuffled" in self.form:
            y = F.pixel_shuffle(self.shuffle(y), 2)
        else:
            y = F.interpolate(y, scale_factor=2, mode="bilinear")
        y = torch.cat([y, x], 1) if "cat" in self.form else x + y
        return self.out(F.relu(self.wide(y)))


class Pyramid(nn.Module):
    """Pooled at several sizes and put beside what was pooled: no skip."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes = (2, 4)
        pooled = [m(F.adaptive_avg_pool2d(x, s)) for m, s in zip(self.maps, sizes, strict=True)]
        return torch.cat([x, *(F.interpolate(p, size=x.shape[2:]) for p in pooled)], 1)


class Dense(nn.Module):
    """Each layer is given all that came before it."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(8 * n, 8, 3, padding=1) for n in (1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.maps:
            x = torch.cat([x, layer(F.relu(x))], 1)
        return x


class Ghost(nn.Module):
    """Few channels, and as many more by cheap filters of those."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.cheap = nn.Conv2d(8, 4, 1), depthwise(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.first(x))
        return torch.cat([x, F.relu(self.cheap(x))], 1)


class ImageAttention(nn.Module):
    """Attention of an image's points to each other, by convolutions of one point, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 8)
        self.query, self.key, self.value, self.out = (nn.Conv2d(8, 8, 1) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        q, k, v = (part(y).flatten(2) for part in (self.query, self.key, self.value))
        weights = torch.bmm(q.mT, k).mul(8**-0.5).softmax(-1)
        return x + self.out(torch.bmm(v, weights.mT).view_as(x))


EXCITED = {"squeeze_excite": 1}
MBCONV = {"depthwise_separable": 1, "squeeze_excite": 1, "residual": 1, "residual_block": 1}
NORMED = {**MBCONV, "conv_bn_act": 2}
HEAD = {"pooling_head": 1}
WIDENED = {"residual": 1, "residual_block": 1}
WORDS, SMALL = (2, 6, 8), (2, 3, 8, 8)

CASES = {
    "excite, SiLU": (Excite(convs()), [IMAGE], EXCITED),
    "excite, means of means": (Excite(linears(), "twice"), [IMAGE], EXCITED),
    "excite, flat": (Excite(linears(), "flat"), [IMAGE], EXCITED),
    "excite, average": (Excite(convs(), "average"), [IMAGE], EXCITED),
    "excite, normed": (Excite(convs(nn.GroupNorm(1, 4), nn.ReLU())), [IMAGE], EXCITED),
    "excite, hard": (Excite(convs(gate=nn.Hardsigmoid())), [IMAGE], EXCITED),
    "excite, by hand": (Excite(convs(gate=nn.Identity()), "by hand"), [IMAGE], EXCITED),
    "excite, one map": (
        Excite(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Hardsigmoid())),
        [IMAGE],
        EXCITED,
    ),
    "mbconv": (mbconv(nn.SiLU, Excite(convs(width=16)), nn.BatchNorm2d), [IMAGE], NORMED),
    "mbconv, hard": (
        mbconv(nn.Hardswish, Excite(convs(nn.ReLU(), width=16), "average"), nn.BatchNorm2d),
        [IMAGE],
        NORMED,
    ),
    "mbconv, group norm": (
        mbconv(nn.GELU, Excite(convs(width=16)), lambda n: nn.GroupNorm(2, n)),
        [IMAGE],
        MBCONV,
    ),
    "depthwise, activation first": (
        nn.Sequential(depthwise(), nn.GELU(), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)),
        [IMAGE],
        {"depthwise_separable": 1},
    ),
    "one channel is no filter of each": (
        nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)),
        [(2, 1, 8, 8)],
        {},
    ),
    "ghost": (Ghost(), [IMAGE], {}),
    "convnext": (convnext(), [IMAGE], {"layer_norm": 1, "mlp": 1, **WIDENED}),
    "channels' norm": (FirstNorm(), [IMAGE], {"layer_norm": 1}),
    "fixed norm": (
        nn.Sequential(nn.Conv2d(8, 4, 3), FixedNorm(4), nn.ReLU()),
        [IMAGE],
        {"conv_bn_act": 1},
    ),
    "pre-activation": (Residual(preact(8, 8)), [IMAGE], WIDENED),
    "shortcut, pooled": (
        Shortcut(preact(8, 4), nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(8, 4, 1))),
        [IMAGE],
        WIDENED,
    ),
    "shortcut, excited": (
        Shortcut(nn.Sequential(preact(8, 8), Excite(convs())), nn.Conv2d(8, 8, 1)),
        [IMAGE],
        {**WIDENED, **EXCITED},
    ),
    "two filters, added": (
        Shortcut(nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 1)),
        [IMAGE],
        {},
    ),
    "attention in an image": (ImageAttention(), [IMAGE], {"attention": 1, "residual": 1}),
    "patches, with a margin": (
        Patches(3, 7, 4),
        [SMALL],
        {"patch_embedding": 1, "layer_norm": 1, "residual": 1},
    ),
    "patches of features": (
        Patches(8, 2, 2),
        [IMAGE],
        {"patch_embedding": 1, "layer_norm": 1, "residual": 1},
    ),
    "patches, no norm": (
        Patches(3, 4, 4, norm=False),
        [SMALL],
        {"patch_embedding": 1, "residual": 1},
    ),
    "patches, normed first": (NormedPatches(), [SMALL], {"patch_embedding": 1, "layer_norm": 2}),
    "patches, unfolded": (UnfoldedPatches(), [SMALL], {"patch_embedding": 1}),
    "fewer keys": (ReducedKeys(), [(2, 16, 8)], {"attention": 1, "layer_norm": 1}),
    **{
        f"head, {form}": (Head(form), [WORDS], {"pooling_head": 1})
        for form in ("adaptive, 1d", "masked", "largest")
    },
    "head, tokens, normed": (Head("tokens, normed"), [WORDS], {**HEAD, "layer_norm": 1}),
    **{
        f"head, {form}": (Head(form), [IMAGE], HEAD)
        for form in ("average", "gem", "max and average")
    },
    "head, joined": (Head("joined", 16), [IMAGE], HEAD),
    **{
        f"skip, {form}": (AddedSkip(form), [IMAGE], {"unet_skip": 1})
        for form in (
            "cat, transposed",
            "cat, shuffled",
            "cat, interpolated",
            "transposed",
            "interpolated",
        )
    },
    "pyramid": (Pyramid(), [IMAGE], {}),
    "dense": (Dense(), [IMAGE], {}),
}
