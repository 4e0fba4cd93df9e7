"""The levels of one side of the convolutional family, from one grid to the next."""

import itertools
from typing import Annotated

from pydantic import Field, model_validator
from torch import Tensor, nn

from ..config import Config
from .base import Channels
from .blocks import AttentionBlock, ResidualBlock
from .resampling import RESAMPLERS

Blocks = Annotated[int, Field(ge=1, le=128)]
MAX_LEVELS = 12


class StackConfig(Config):
    """One side of the autoencoder: levels from the finest grid to the coarsest, each half the size of the one before.

    Neighbouring levels may share a grid.
    """

    channels: Annotated[list[Channels], Field(min_length=1, max_length=MAX_LEVELS)]
    """Width of each level, finest first."""
    blocks: Annotated[list[Blocks], Field(min_length=1, max_length=MAX_LEVELS)]
    """Residual blocks of each level, finest first."""
    attention: list[int] = []
    """Levels whose blocks are each followed by self-attention, counted from 0 for the finest."""
    shared_grids: list[int] = []
    """Levels that have the grid of the next finer level, with nothing between the two."""
    middle: bool = True
    """Whether residual blocks and attention work at the coarsest grid, next to the latent."""
    middle_blocks: Blocks = 2
    """Residual blocks of the middle."""
    middle_attention: bool = True
    """Whether self-attention follows the first block of the middle."""

    @model_validator(mode="after")
    def _levels_agree(self) -> "StackConfig":
        if len(self.blocks) != len(self.channels):
            raise ValueError(
                f"blocks has {len(self.blocks)} levels but channels has {len(self.channels)}: give one number per level."
            )
        outside = [level for level in self.attention if not 0 <= level < len(self.channels)]
        if outside:
            raise ValueError(
                f"attention names level {outside[0]}, but the levels are 0 to {len(self.channels) - 1}: "
                "name one of those."
            )
        outside = [level for level in self.shared_grids if not 0 < level < len(self.channels)]
        if outside:
            raise ValueError(
                f"shared_grids names level {outside[0]}, but must name levels from 1 to {len(self.channels) - 1}, each of "
                "which has a finer one."
            )
        return self

    @property
    def grids(self) -> int:
        """Number of grids, from the finest to the coarsest."""
        return len(self.channels) - len(set(self.shared_grids))


class DecoderStackConfig(StackConfig):
    """Levels of the decoder, from the finest grid to the coarsest, though it runs from the coarsest."""

    adaptive_norm: bool = False
    """Whether a group normalisation before each level takes its scale from the standard deviation of the decoder's input
    over the grid, and its shift from the mean. An image then depends on all its tokens, even far away."""


class Level(nn.Module):
    """Residual blocks at one grid size, each optionally followed by attention."""

    def __init__(
        self, channels: int, out_channels: int, blocks: int, attention: bool, norm: str, shortcut_of_output: bool
    ):
        super().__init__()
        self.channels = channels
        layers: list[nn.Module] = []
        for index in range(blocks):
            entering = channels if index == 0 else out_channels
            layers.append(ResidualBlock(entering, out_channels, norm, shortcut_of_output))
            if attention:
                layers.append(AttentionBlock(out_channels, norm))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        return run_layers(self.layers, x, *condition)


def run_layers(layers: nn.Module, x: Tensor, *condition: Tensor) -> Tensor:
    """Return the output of a sequence of layers, of which levels and blocks get the condition of their norms too."""
    if not condition:
        return layers(x)
    for layer in layers.children():
        x = layer(x, *condition) if isinstance(layer, CONDITIONED) else layer(x)
    return x


CONDITIONED = (Level, ResidualBlock, AttentionBlock)


def build_levels(
    stack: StackConfig,
    norm: str,
    resampling: str,
    is_decoder: bool,
    shortcut_of_output: bool,
    in_channels: int | None = None,
) -> nn.Sequential:
    """Build the levels of an encoder, or of a decoder in reverse, with a change of the grid between them.

    The first gets `in_channels`, by default as many as it has.
    """
    order = range(len(stack.channels))[:: -1 if is_decoder else 1]
    width = in_channels or stack.channels[order[0]]
    layers: list[nn.Module] = []
    for index, following in itertools.zip_longest(order, order[1:]):
        channels = stack.channels[index]
        has_attention = index in stack.attention
        layers.append(Level(width, channels, stack.blocks[index], has_attention, norm, shortcut_of_output))
        if following is not None and max(index, following) in stack.shared_grids:
            width = channels
            layers.append(nn.Identity())
        elif following is not None:
            width = stack.channels[following] if resampling == "shuffle" else channels
            layers.append(RESAMPLERS[resampling][is_decoder](channels, width))
    return nn.Sequential(*layers)


def build_middle(stack: StackConfig, norm: str) -> nn.Module:
    """Build the layers at the coarsest grid, next to the latent: block, attention, block, or as the config asks; or none."""
    if not stack.middle:
        return nn.Identity()
    width = stack.channels[-1]
    layers: list[nn.Module] = []
    for index in range(stack.middle_blocks):
        layers.append(ResidualBlock(width, width, norm))
        if index == 0 and stack.middle_attention:
            layers.append(AttentionBlock(width, norm))
    return nn.Sequential(*layers)
