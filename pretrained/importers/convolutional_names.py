"""Names that public VQGANs give to layers of vistok's convolutional networks, and the architecture that they determine."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...tokenizer.config import parse_config
from ...tokenizer.networks.convolutional import ConvolutionalConfig
from ...tokenizer.networks.levels import StackConfig
from .base import Shapes

PARTS = {"shortcut": "nin_shortcut", "query": "q", "key": "k", "value": "v", "out": "proj_out"}
"""Layers within a block: vistok's name and theirs."""
OUTSIDE = {"quantizer_in": "quant_conv", "quantizer_out": "post_quant_conv"}
CODEBOOK = {"quantizer.codebook.table": "quantize.embedding.weight"}


class Side(NamedTuple):
    """The encoder or the decoder of a layout."""

    name: str
    """encoder or decoder, in the checkpoint as in vistok."""
    levels: str
    """Name of the list of levels."""
    is_reversed: bool
    """Whether the list is in reverse order: its first level is computed last."""
    resample: str
    """Name of the downsampling or upsampling of a level."""


class Names(NamedTuple):
    """The names in the checkpoints of one family."""

    encoder: Side
    decoder: Side
    blocks: str
    """Name of the list of residual blocks in a level."""
    attentions: str
    """Name of the list of attention blocks in a level."""
    middle: tuple[str, str, str]
    """Names of block, attention and block at the coarsest grid."""

    def architecture(self, shapes: Shapes) -> ConvolutionalConfig:
        """Return levels, widths, blocks and attention of a checkpoint; raise ValueError when a tensor is missing."""
        values = {
            "encoder": self._stack(self.encoder, shapes),
            "decoder": self._stack(self.decoder, shapes),
            "latent_channels": shapes.rows("encoder.conv_out.weight"),
        }
        return parse_config(ConvolutionalConfig, values)

    def of(self, name: str, config: ConvolutionalConfig) -> str:
        """Return the checkpoint's name of the tensor that vistok calls `name`."""
        for ours, theirs in self._modules(config):
            if name.startswith(f"{ours}."):
                part, dot, parameter = name.removeprefix(f"{ours}.").rpartition(".")
                return f"{theirs}.{PARTS.get(part, part)}{dot}{parameter}"
        return CODEBOOK.get(name, name)

    def _stack(self, side: Side, shapes: Shapes) -> dict[str, Any]:
        prefix = f"{side.name}.{side.levels}"
        found = [re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in shapes]
        count = len({match[1] for match in found if match})
        levels = [f"{prefix}.{index}" for index in _finest_first(side, count)]
        blocks = [_count(shapes, f"{level}.{self.blocks}", "conv1.weight") for level in levels]
        attention = [_count(shapes, f"{level}.{self.attentions}", "norm.weight") for level in levels]
        return {
            "channels": [shapes.rows(f"{level}.{self.blocks}.0.conv2.weight") for level in levels],
            "blocks": blocks,
            "attention": [index for index, number in enumerate(attention) if number],
        }

    def _modules(self, config: ConvolutionalConfig) -> Iterator[tuple[str, str]]:
        """Yield pairs of module names, vistok's and the checkpoint's."""
        yield from OUTSIDE.items()
        for side, stack in ((self.encoder, config.encoder), (self.decoder, config.decoder)):
            yield from (
                (f"{side.name}.middle.{index}", f"{side.name}.{name}") for index, name in enumerate(self.middle)
            )
            yield from self._level_modules(side, stack)

    def _level_modules(self, side: Side, stack: StackConfig) -> Iterator[tuple[str, str]]:
        count = len(stack.channels)
        for level, index in enumerate(_finest_first(side, count)):
            theirs = f"{side.name}.{side.levels}.{index}"
            position = level if side.name == "encoder" else count - 1 - level  # in order of computation
            ours = f"{side.name}.levels.{2 * position}.layers"
            with_attention = level in stack.attention
            for block in range(stack.blocks[level]):
                yield f"{ours}.{block * (1 + with_attention)}", f"{theirs}.{self.blocks}.{block}"
                if with_attention:
                    yield f"{ours}.{2 * block + 1}", f"{theirs}.{self.attentions}.{block}"
            yield f"{side.name}.levels.{2 * position + 1}", f"{theirs}.{side.resample}"


def _finest_first(side: Side, count: int) -> list[int]:
    """Return the checkpoint's indices of the levels, the finest grid first."""
    computed = list(reversed(range(count))) if side.is_reversed else list(range(count))
    return computed if side.name == "encoder" else computed[::-1]


def _count(shapes: Shapes, prefix: str, member: str) -> int:
    count = 0
    while f"{prefix}.{count}.{member}" in shapes:
        count += 1
    return count
