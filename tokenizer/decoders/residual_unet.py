"""A small U-Net that predicts what the plain decoder's answer lacks, from noise, in one step or several.

It works on the residual u = (x - x0) / scale, where x0 is the plain answer. Between u and noise e lies the straight path
z = (1 - t) u + t e (rectified flow, arXiv 2209.03003). The network predicts u from z and t, and so the velocity
dz/dt = (z - u) / t. Following it from t = 1 to 0 by Euler's method turns noise into a sample.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from ..networks.base import ArchitectureConfig, Channels
from ..networks.blocks import in_float32, kernels_except, zero_initialize
from ..networks.convolutional import COLOURS
from ..shapes import Latent, Pixels
from .base import MAX_STEPS, DecoderConfig, ExtraDecoder, PlainDecoder
from .code_size import code_size
from .euler import integrate
from .unet_layers import ChannelNorm, DoubleGrid, HalfGrid, TimedBlock, TimeFeatures, silu

STEMS = (4, 2, 1)


class ResidualUNetConfig(DecoderConfig):
    """Shape of the U-Net."""

    name: Literal["residual_unet"] = "residual_unet"
    """Kind of the decoder: residual_unet."""
    channels: Annotated[list[Channels], Field(min_length=1, max_length=8)] = [32, 64, 96]
    """Channels of each level; the grid of a level is half that of the one before."""
    blocks: Annotated[int, Field(ge=1, le=64)] = 2
    """Residual blocks of each level, on the way down and again on the way up."""
    stem: Literal[1, 2, 4, 8] | None = None
    """Side of the pixel squares that are moved into the channels first (space to depth), or null for the largest of 4, 2 and
    1 that divides the downsampling."""
    time_channels: Annotated[int, Field(ge=4, le=1 << 12)] = 64
    """Channels of the features of the time, an even number."""

    @model_validator(mode="after")
    def _time_channels_are_even(self) -> "ResidualUNetConfig":
        if self.time_channels % 2:
            raise ValueError(f"time_channels is {self.time_channels}, but must be even: try {self.time_channels + 1}.")
        return self

    def build(self, architecture: ArchitectureConfig, code_channels: int) -> "ResidualUNet":
        downsample = architecture.downsample
        stem: int = self.stem or next(side for side in STEMS if downsample % side == 0)
        if downsample % stem:
            raise ValueError(
                f"stem is {stem}, but must divide the downsampling of the tokenizer, {downsample}: give 1, or leave it out."
            )
        repeats = downsample // stem if architecture.latent_is_grid else None
        return ResidualUNet(self, stem, code_channels, repeats)


class ResidualUNet(ExtraDecoder):
    """Predict the scaled residual of an image that is the plain answer plus that residual.

    Codes are repeated to the grid of the network. Where they are no grid of the image (`repeats` is None), there is no place
    to repeat them to, and the network sees the plain answer alone, which depends on all of them. Sides may be odd multiples
    of the stem: each level repeats an odd row or column on its way down, and crops it on its way up.
    """

    traced = "predict_from"
    code_exponent: Tensor
    max_steps = MAX_STEPS

    def __init__(self, config: ResidualUNetConfig, stem: int, code_channels: int, repeats: int | None):
        super().__init__(config)
        first, *_ = widths = config.channels
        squares = COLOURS * stem**2
        self.stem = stem
        self.repeats = repeats
        self.noise_in = nn.Conv2d(squares, first, 3, padding=1)
        self.base_in = nn.Conv2d(squares, first, 3, padding=1, bias=False)
        self.codes_in = None if repeats is None else nn.Conv2d(code_channels, first, 3, padding=1, bias=False)
        self.register_buffer("code_exponent", torch.zeros((), dtype=torch.int64))
        self.time = TimeFeatures(config.time_channels)
        self.down = nn.ModuleList(self._level(config, width) for width in widths[:-1])
        self.halvings = nn.ModuleList(map(HalfGrid, widths[:-1], widths[1:]))
        self.middle = self._level(config, widths[-1])
        self.doublings = nn.ModuleList(map(DoubleGrid, widths[1:], widths[:-1]))
        self.up = nn.ModuleList(self._level(config, width) for width in widths[:-1])
        self.norm_out = ChannelNorm(first)
        self.conv_out = nn.Conv2d(first, squares, 3, padding=1)
        zero_initialize(self.conv_out)

    @staticmethod
    def _level(config: ResidualUNetConfig, width: int) -> nn.ModuleList:
        return nn.ModuleList(TimedBlock(width, config.time_channels) for _ in range(config.blocks))

    def noise_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return COLOURS, height, width

    def forward(self, codes: Latent, base: Pixels, noise: Tensor) -> Pixels:
        condition = self.condition(codes, base)
        z = integrate(lambda z, time: self.predict_from(z, time, condition), noise, self.steps)
        return torch.add(base.float(), z, alpha=self.scale)

    def predict(self, z: Tensor, time: Tensor, codes: Latent, base: Pixels) -> Tensor:
        """Return the scaled residual, float32, that points `z` `b c h w` on the path have at times `b` in (0, 1]."""
        return self.predict_from(z, time, self.condition(codes, base))

    def condition(self, codes: Latent, base: Pixels) -> Tensor:
        """Return what the first layer makes of codes and plain answer, which is the same at every time."""
        seen: Tensor = self.base_in(self._squares(base))
        if self.codes_in is None or self.repeats is None:
            return seen
        of_codes = self.codes_in(torch.ldexp(codes, -self.code_exponent).to(self.dtype))
        return seen + functional.interpolate(of_codes, scale_factor=float(self.repeats), mode="nearest")

    def predict_from(self, z: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Return what `predict` does, from a result of `condition`."""
        features = self.time(time)
        x = self.noise_in(self._squares(z)) + condition
        kept: list[Tensor] = []
        for blocks, halve in zip(self.down, self.halvings, strict=True):
            x = _through(blocks, x, features)
            kept.append(x)
            x = halve(x)
        x = _through(self.middle, x, features)
        for double, blocks in zip(reversed(self.doublings), reversed(self.up), strict=True):
            x = _through(blocks, double(x, kept.pop()), features)
        return functional.pixel_shuffle(in_float32(self.conv_out, silu(self.norm_out(x))), self.stem)

    def _squares(self, values: Tensor) -> Tensor:
        return functional.pixel_unshuffle(values.to(self.dtype), self.stem)

    def start_from(self, plain: PlainDecoder) -> None:
        self.code_exponent.fill_(round(math.log2(code_size(plain.quantizer))))

    def hidden_matrices(self) -> list[str]:
        outer = ("noise_in.weight", "base_in.weight", "codes_in.weight", "conv_out.weight")
        names = kernels_except(self, *outer)
        return [name for name in names if not name.startswith("time.") and "modulation" not in name]

    @property
    def last_layer(self) -> nn.Parameter:
        return self.get_parameter("conv_out.weight")


def _through(blocks: nn.Module, x: Tensor, features: Tensor) -> Tensor:
    for block in blocks.children():
        x = block(x, features)
    return x
