"""Networks for images, in the manner of torchvision, timm and lucidrains."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Conv2dNormActivation(nn.Sequential):
    """Convolution, batch norm and, mostly, an activation; as torchvision spells it."""

    def __init__(
        self,
        width: int,
        out: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.Hardswish,
    ) -> None:
        padding = (kernel - 1) // 2
        conv = nn.Conv2d(width, out, kernel, stride, padding, groups=groups, bias=False)
        parts: list[nn.Module] = [conv, nn.BatchNorm2d(out, eps=0.001, momentum=0.01)]
        super().__init__(*parts, *([activation()] if activation else []))


class SqueezeExcitation(nn.Module):
    """Channels weighted by a hard sigmoid of what all of them say."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(width, squeezed, 1), nn.Conv2d(squeezed, width, 1)
        self.activation, self.scale_activation = nn.ReLU(), nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.activation(self.fc1(self.avgpool(x)))
        scaled: torch.Tensor = self.scale_activation(self.fc2(scale)) * x
        return scaled


class InvertedResidual(nn.Module):
    """MobileNetV3's: widen, each channel for itself, squeeze and excite, narrow."""

    def __init__(self, width: int, wide: int, out: int, stride: int) -> None:
        super().__init__()
        self.use_res_connect = stride == 1 and width == out
        self.expand = Conv2dNormActivation(width, wide, 1)
        self.depthwise = Conv2dNormActivation(wide, wide, 5, stride, groups=wide)
        self.se = SqueezeExcitation(wide, 8)
        self.project = Conv2dNormActivation(wide, out, 1, activation=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        if self.use_res_connect:
            found = found + x
        return found


class MobileNetV3(nn.Module):
    """A stem, three blocks, a last convolution, and a head of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Conv2dNormActivation(3, 8, stride=2),
            InvertedResidual(8, 16, 8, 1),
            InvertedResidual(8, 24, 12, 2),
            InvertedResidual(12, 24, 12, 1),
            Conv2dNormActivation(12, 24, 1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(24, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 5)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = torch.flatten(self.avgpool(self.features(x)), 1)
        scores: torch.Tensor = self.classifier(pooled)
        return scores


class SqueezeExciteMean(nn.Module):
    """timm's: a mean that keeps its dimensions, 1×1 convolutions, SiLU and a sigmoid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_reduce, self.conv_expand = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squeezed = x.mean((2, 3), keepdim=True)
        squeezed = functional.silu(self.conv_reduce(squeezed), inplace=True)
        scaled: torch.Tensor = x * self.conv_expand(squeezed).sigmoid()
        return scaled


class MBConv(nn.Module):
    """EfficientNet's block, timm's spelling: norm and activation after each convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 3 * width
        self.conv_pw, self.bn1 = nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv_dw = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.bn2, self.se = nn.BatchNorm2d(wide), SqueezeExciteMean(wide)
        self.conv_pwl, self.bn3 = nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = functional.silu(self.bn1(self.conv_pw(x)), inplace=True)
        found = functional.silu(self.bn2(self.conv_dw(found)), inplace=True)
        summed: torch.Tensor = self.bn3(self.conv_pwl(self.se(found))) + x
        return summed


class FusedMBConv(nn.Module):
    """EfficientNetV2's early block: one full convolution widens, a 1×1 one narrows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_exp = Conv2dNormActivation(width, 2 * width, activation=nn.SiLU)
        self.conv_pwl = Conv2dNormActivation(2 * width, width, 1, activation=None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.conv_pwl(self.conv_exp(x))
        return found


class EfficientNetV2(nn.Module):
    """Two blocks of each kind, the mean of all places, a class."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv2dNormActivation(3, 8, stride=2, activation=nn.SiLU)
        self.blocks = nn.Sequential(FusedMBConv(8), FusedMBConv(8), MBConv(8), MBConv(8))
        self.classifier = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classifier(self.blocks(self.stem(x)).mean([2, 3]))
        return scores


class PreActBasic(nn.Module):
    """Norm and activation before each convolution; the shortcut starts after the first norm."""

    def __init__(self, width: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(out)
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(width, out, 1, stride, bias=False) if width != out else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ahead = functional.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(ahead)
        found = self.conv1(ahead)
        found = self.conv2(functional.relu(self.bn2(found)))
        found += shortcut
        summed: torch.Tensor = found
        return summed


class PreActResNet(nn.Module):
    """As for CIFAR: no pooling at the stem, average pooling by a kernel at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.layers = nn.Sequential(PreActBasic(8, 8), PreActBasic(8, 16, 2), PreActBasic(16, 16))
        self.linear = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = functional.avg_pool2d(functional.relu(self.layers(self.conv1(x))), 8)
        scores: torch.Tensor = self.linear(found.view(found.size(0), -1))
        return scores


class ChannelMlp(nn.Sequential):
    """Two linear maps on the last dimension."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class CNBlock(nn.Module):
    """ConvNeXt's block, channels last for norm and MLP, and a scale for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.mlp = nn.LayerNorm(width, eps=1e-6), ChannelMlp(width)
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.mlp(self.norm(self.dwconv(x).permute(0, 2, 3, 1)))
        summed: torch.Tensor = x + (self.gamma * found).permute(0, 3, 1, 2)
        return summed


class Patchify(nn.Module):
    """Patches of 4×4 by a convolution, to a map of channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv(x)
        return found


class ConvNeXt(nn.Module):
    """Patches, two blocks, their mean, a norm, a class."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = Patchify(12), nn.Sequential(CNBlock(12), CNBlock(12))
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.norm(self.blocks(self.stem(x)).mean([-2, -1])))
        return scores
