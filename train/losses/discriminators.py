"""Discriminators: networks from pixels to logits, which are higher where an image looks real."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ...perception.backbones import Backbone, BackboneConfig, load_backbone
from ...tokenizer.config import Config
from ...tokenizer.networks.norms import GroupNorm
from ...tokenizer.shapes import Pixels

MAX_GROUPS = 32
"""Maximum number of groups of a group norm."""
SLOPE = 0.2
MAX_WIDENING = 8
"""Maximum ratio of the channels of a layer to those of the first."""


class DiscriminatorConfig(Config, ABC):
    """Settings of a discriminator, chosen by `name` from DISCRIMINATORS."""

    name: str

    @abstractmethod
    def build(self) -> nn.Module:
        """Build it with fresh weights: pixels `b c h w` to float32 logits, `b` and any other axes."""


class PatchDiscriminatorConfig(DiscriminatorConfig):
    """A small convolutional network that classifies overlapping patches (PatchGAN, arXiv 1611.07004)."""

    name: Literal["patch"] = "patch"
    """Kind of discriminator: patch."""
    channels: Annotated[int, Field(ge=1)] = 64
    """Channels of the first layer; each further layer doubles them, up to eight times as many."""
    layers: Annotated[int, Field(ge=1)] = 3
    """Convolutions that halve the grid; with 3 the receptive field of a logit is 70 x 70 pixels."""
    norm: Literal["batch", "group", "none"] = "group"
    """Normalisation between them; batch is that of pix2pix and VQGAN, and its statistics differ between processes."""

    def build(self) -> nn.Module:
        return PatchDiscriminator(self)


class BackboneDiscriminatorConfig(DiscriminatorConfig):
    """Small heads over the features of a frozen network (arXiv 2111.01007, 2301.09515)."""

    name: Literal["backbone"] = "backbone"
    """Kind of discriminator: backbone."""
    backbone: BackboneConfig
    """Frozen network whose features the heads classify."""
    channels: Annotated[int, Field(ge=1)] = 64
    """Channels within a head."""

    def build(self) -> nn.Module:
        return BackboneDiscriminator(load_backbone(self.backbone), self.channels)


DISCRIMINATORS: dict[str, type[DiscriminatorConfig]] = {
    "patch": PatchDiscriminatorConfig,
    "backbone": BackboneDiscriminatorConfig,
}
"""Discriminators by name."""


class PatchDiscriminator(nn.Module):
    """4 x 4 convolutions with leaky ReLUs, the last one in float32; initial weights are N(0, 0.02), as in pix2pix."""

    def __init__(self, config: PatchDiscriminatorConfig):
        super().__init__()
        self.layers = config.layers
        widths = [config.channels * min(2**layer, MAX_WIDENING) for layer in range(config.layers + 1)]
        body: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for layer in range(1, config.layers + 1):
            stride = 2 if layer < config.layers else 1
            # A bias before batch norm has no effect.
            bias = config.norm != "batch"
            body.append(nn.Conv2d(widths[layer - 1], widths[layer], 4, stride=stride, padding=1, bias=bias))
            body += [NORMS[config.norm](widths[layer]), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*body)
        self.conv_out = nn.Conv2d(widths[-1], 1, 4, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, pixels: Pixels) -> Float[Tensor, "b 1 y x"]:
        """Return a logit for each patch; raise ValueError when an image is smaller than a patch."""
        smallest = 3 * 2**self.layers
        if min(pixels.shape[-2:]) < smallest:
            raise ValueError(
                f"Images of {pixels.shape[-2]} x {pixels.shape[-1]} are too small for a patch discriminator of "
                f"{self.layers} layers, which needs {smallest} x {smallest} at least: lower discriminator.layers."
            )
        features = self.body(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.conv_out(features.float())


class BackboneDiscriminator(nn.Module):
    """A spectrally normalised head for each stage of a frozen backbone; gradients reach the pixels through it.

    It computes in float32 under any autocast. Its parameters and its state dict are those of the heads alone.
    """

    def __init__(self, backbone: Backbone, channels: int):
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(_head(width, channels) for width in backbone.channels)

    def forward(self, pixels: Pixels) -> Float[Tensor, "b n"]:
        """Return the logits of all stages and positions; raise ValueError when the images are too small."""
        with torch.autocast(pixels.device.type, enabled=False):
            stages = zip(self.heads, self.backbone(pixels), strict=True)
            return torch.cat([rearrange(head(features), "b 1 y x -> b (y x)") for head, features in stages], dim=1)


def _head(width: int, channels: int) -> nn.Module:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(width, channels, 1)),
        _group_norm(channels),
        nn.LeakyReLU(SLOPE),
        spectral_norm(nn.Conv2d(channels, channels, 3, padding=1)),
        _group_norm(channels),
        nn.LeakyReLU(SLOPE),
        spectral_norm(nn.Conv2d(channels, 1, 1)),
    )


def _group_norm(channels: int) -> nn.Module:
    # At least four channels in a group if possible: a single value would be normalised to 0.
    return GroupNorm(math.gcd(MAX_GROUPS, channels, max(1, channels // 4)), channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "group": _group_norm, "none": nn.Identity}
