"""The hiding networks of the published code (``ZJZAC/Poison-Ink``), with its names of parameters.

=====================  ===========================================================  ====================
network                what                                                         parameters
=====================  ===========================================================  ====================
`InjectionUNet`        injection network of the released experiments (``--uh``)     12,413,315 (32 px)
`PlainUNet`            its default: max-pooled U-Net, linear output                 17,269,251
`GuidanceExtractor`    dilated residual network that draws what it finds            2,777,859
`PatchDiscriminator`   tells poisoned from clean patches (adversarial stage)        1,555,585
=====================  ===========================================================  ====================

They take the place of `visionlab.protection.hiding.Hider` and `Reader`, but for one thing: the injection networks
return the poisoned image itself, not a residual.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["GuidanceExtractor", "InjectionUNet", "PatchDiscriminator", "PlainUNet"]

_Padding = Literal["zeros", "reflect"]


class InjectionUNet(nn.Module):
    """Image and pattern to poisoned image: a pix2pix U-Net that upsamples instead of transposing convolutions.

    Args:
        levels: times the map is halved, plus one; 5 for 32 pixels, 7 for 256 (30,243,203 parameters).
        base: channels of the outermost level; doubled inwards, to 8 times at most.
    """

    def __init__(self, *, levels: int = 5, base: int = 64) -> None:
        super().__init__()
        if levels < 5:
            raise ValueError(f"levels: expected 5 or more, got {levels}")
        self.stride = 2 ** (levels - 1)
        deep = 8 * base
        block = _Level(deep, deep, None)
        for _ in range(levels - 5):
            block = _Level(deep, deep, block)
        for outer in (4 * base, 2 * base, base):
            block = _Level(outer, 2 * outer, block)
        self.model = _Outermost(base, block)

    def forward(self, images: Float[Tensor, "b 3 h w"], pattern: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return poisoned images (B, 3, H, W) in (0, 1).

        Raises:
            ValueError: if the sides are no multiples of 2 to the number of halvings, or of less than two of them.
        """
        height, width = images.shape[-2:]
        if height % self.stride or width % self.stride or min(height, width) < 2 * self.stride:
            raise ValueError(f"images: expected sides that are multiples of {self.stride}, got {height} x {width}")
        return self.model(torch.cat([images, pattern], 1))


class _Outermost(nn.Module):
    def __init__(self, base: int, inner: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(6, base, 3, bias=False),
            inner,
            nn.ReLU(),
            nn.Conv2d(2 * base, 3, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Level(nn.Module):
    """One halving of the U-Net: what went in (activated) beside what comes out of the levels below."""

    def __init__(self, outer: int, inner: int, below: nn.Module | None) -> None:
        super().__init__()
        down: list[nn.Module] = [
            nn.LeakyReLU(0.2), nn.ReflectionPad2d(1), nn.Conv2d(outer, inner, 4, stride=2, bias=False),
        ]  # fmt: skip
        if below is not None:
            down += [nn.BatchNorm2d(inner), below]
        up = [
            nn.ReLU(),
            nn.Conv2d(inner if below is None else 2 * inner, outer, 3, padding=1, bias=False),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.BatchNorm2d(outer),
        ]
        self.model = nn.Sequential(*down, *up)

    def forward(self, x: Tensor) -> Tensor:
        # The published leaky ReLU works in place, so that the skip carries what it gives, not what it got.
        return torch.cat([F.leaky_relu(x, 0.2), self.model(x)], 1)


class PlainUNet(nn.Module):
    """Image and pattern to poisoned image: the U-Net of many segmentation codes, widths 64 to 512, linear output.

    Args:
        reflect: pad by reflection (``--rp``), not with zeros.
    """

    def __init__(self, *, reflect: bool = False) -> None:
        super().__init__()
        mode: _Padding = "reflect" if reflect else "zeros"
        self.inc = _Double(6, 64, 64, mode)
        self.down1, self.down2 = _Down(64, 128, mode), _Down(128, 256, mode)
        self.down3, self.down4 = _Down(256, 512, mode), _Down(512, 512, mode)
        self.up1, self.up2 = _Up(1024, 256, mode), _Up(512, 128, mode)
        self.up3, self.up4 = _Up(256, 64, mode), _Up(128, 64, mode)
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(64, 3, 1)})

    def forward(self, images: Float[Tensor, "b 3 h w"], pattern: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return poisoned images (B, 3, H, W); nothing clips them."""
        x1 = self.inc(torch.cat([images, pattern], 1))
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x = self.up1(self.down4(x4), x4)
        return self.outc["conv"](self.up4(self.up3(self.up2(x, x3), x2), x1))


class _Double(nn.Module):
    def __init__(self, inputs: int, width: int, middle: int, padding_mode: _Padding) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in ((inputs, middle), (middle, width)):
            layers += [nn.Conv2d(i, o, 3, padding=1, padding_mode=padding_mode), nn.BatchNorm2d(o), nn.ReLU()]
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class _Down(nn.Module):
    def __init__(self, inputs: int, width: int, padding_mode: _Padding) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), _Double(inputs, width, width, padding_mode))

    def forward(self, x: Tensor) -> Tensor:
        return self.maxpool_conv(x)


class _Up(nn.Module):
    def __init__(self, inputs: int, width: int, padding_mode: _Padding) -> None:
        super().__init__()
        self.conv = _Double(inputs, width, inputs // 2, padding_mode)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
        return self.conv(torch.cat([skip, x], 1))


class GuidanceExtractor(nn.Module):
    """Image to the pattern found in it: a dilated residual network at half resolution; a ReLU ends it.

    Args:
        dilations: one residual block each.
        width: channels of all of it.
    """

    def __init__(self, *, dilations: tuple[int, ...] = (2, 2, 2, 4, 4, 4, 1), width: int = 128) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)
        for i, dilation in enumerate(dilations, 1):
            self.add_module(f"res{i}", _Residual(width, dilation))
        self.blocks = len(dilations)
        self.deconv3 = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.deconv2 = nn.Conv2d(width, width, 3, padding=1)
        self.deconv1 = nn.Conv2d(width, 3, 1)
        for i in range(1, 6):
            self.add_module(f"norm{i}", nn.InstanceNorm2d(width, affine=True))
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the drawing (B, 3, H, W), not below 0; even sides from 4 pixels on."""
        x = images
        for i, convolution in enumerate((self.conv1, self.conv2, self.conv3), 1):
            x = self.get_submodule(f"norm{i}")(convolution(x)).relu()
        for i in range(1, self.blocks + 1):
            x = self.get_submodule(f"res{i}")(x)
        for i, upwards in enumerate((self.deconv3, self.deconv2), 4):
            x = self.get_submodule(f"norm{i}")(upwards(x)).relu()
        return self.deconv1(x).relu()


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        for i in (1, 2):
            self.add_module(f"conv{i}", nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False))
            self.add_module(f"norm{i}", nn.InstanceNorm2d(width, affine=True))

    def forward(self, x: Tensor) -> Tensor:
        parts = {name: self.get_submodule(name) for name in ("conv1", "norm1", "conv2", "norm2")}
        return (x + parts["norm2"](parts["conv2"](parts["norm1"](parts["conv1"](x)).relu()))).relu()


class PatchDiscriminator(nn.Module):
    """Image to a map of scores, one a patch, 1 for clean and 0 for poisoned; 2 x 2 of them at 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        widths = (3, 64, 128, 256, 512)
        for i, (inputs, width) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(inputs, width, 3, stride=2, padding=1))
            if i:
                layers.append(nn.InstanceNorm2d(width))
            layers.append(nn.LeakyReLU(0.2))
        self.model = nn.Sequential(*layers, nn.Conv2d(512, 1, 3, padding=1))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 u v"]:
        """Return scores of images whose sides are 32 pixels or more."""
        return self.model(images)
