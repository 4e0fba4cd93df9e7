"""Public VQGANs that differ from vistok's convolutional networks in the names of their layers alone."""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from torch import Tensor

from ...tokenizer.config import parse_config
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.networks.convolutional import ConvolutionalConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.quantizers.vector.quantizer import VQConfig
from .base import Importer, Shapes, Take

PARTS = {"shortcut": "nin_shortcut", "query": "q", "key": "k", "value": "v", "out": "proj_out"}
"""Layers within a block: vistok's name and theirs."""
OUTSIDE = {"quantizer_in": "quant_conv", "quantizer_out": "post_quant_conv"}
CODEBOOK = "quantize.embedding.weight"
NAMES = {"quantizer.codebook.table": CODEBOOK}
RESAMPLE = {"encoder": "downsample", "decoder": "upsample"}


class ConvolutionalImporter(Importer):
    """A family with a convolutional encoder and decoder, one codebook, and images of 256 x 256 pixels."""

    similarity: Literal["euclidean", "cosine"]
    """What the nearest code is nearest by."""
    levels: dict[str, str]
    """Name of the list of levels in `encoder` and `decoder`."""
    coarsest_first: bool
    """Whether the decoder's list begins with the coarsest grid."""
    blocks: str
    """Name of the list of residual blocks in a level."""
    attentions: str
    """Name of the list of attention blocks in a level."""
    middle: tuple[str, str, str]
    """Names of block, attention and block at the coarsest grid."""

    def config(self, shapes: Shapes) -> TokenizerConfig:
        codes, dim = shapes.rows(CODEBOOK), shapes.rows("quant_conv.weight")
        architecture = {
            "encoder": self._stack("encoder", shapes),
            "decoder": self._stack("decoder", shapes),
            "latent_channels": shapes.rows("encoder.conv_out.weight"),
        }
        return TokenizerConfig(
            architecture=parse_config(ConvolutionalConfig, architecture),
            quantizer=VQConfig(dim=dim, codebook_size=codes, similarity=self.similarity),
            preprocessing=PreprocessingConfig(size=256),
        )

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        assert isinstance(config.architecture, ConvolutionalConfig)
        modules = OUTSIDE | dict(self._modules(config.architecture))
        return {name: take(_their_name(name, modules)) for name in names}

    def _stack(self, side: str, shapes: Shapes) -> dict[str, Any]:
        prefix = f"{side}.{self.levels[side]}"
        found = [re.match(rf"{re.escape(prefix)}\.(\d+)\.", name) for name in shapes]
        levels = [
            f"{prefix}.{index}" for index in self._finest_first(side, len({match[1] for match in found if match}))
        ]
        attentions = [_count(shapes, f"{level}.{self.attentions}", "norm.weight") for level in levels]
        return {
            "channels": [shapes.rows(f"{level}.{self.blocks}.0.conv2.weight") for level in levels],
            "blocks": [_count(shapes, f"{level}.{self.blocks}", "conv1.weight") for level in levels],
            "attention": [index for index, count in enumerate(attentions) if count],
        }

    def _modules(self, config: ConvolutionalConfig) -> Iterator[tuple[str, str]]:
        for side, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
            yield from ((f"{side}.middle.{index}", f"{side}.{name}") for index, name in enumerate(self.middle))
            count = len(stack.channels)
            for level, index in enumerate(self._finest_first(side, count)):
                theirs = f"{side}.{self.levels[side]}.{index}"
                position = level if side == "encoder" else count - 1 - level  # in order of computation
                ours = f"{side}.levels.{2 * position}.layers"
                with_attention = level in stack.attention
                for block in range(stack.blocks[level]):
                    yield f"{ours}.{block * (1 + with_attention)}", f"{theirs}.{self.blocks}.{block}"
                    if with_attention:
                        yield f"{ours}.{2 * block + 1}", f"{theirs}.{self.attentions}.{block}"
                yield f"{side}.levels.{2 * position + 1}", f"{theirs}.{RESAMPLE[side]}"

    def _finest_first(self, side: str, count: int) -> list[int]:
        """Return the checkpoint's indices of the levels, the finest grid first."""
        return list(range(count))[:: -1 if side == "decoder" and self.coarsest_first else 1]


def _their_name(name: str, modules: dict[str, str]) -> str:
    for ours, theirs in modules.items():
        if name.startswith(f"{ours}."):
            part, dot, parameter = name.removeprefix(f"{ours}.").rpartition(".")
            return f"{theirs}.{PARTS.get(part, part)}{dot}{parameter}"
    return NAMES.get(name, name)


def _count(shapes: Shapes, prefix: str, member: str) -> int:
    return next(index for index in itertools.count() if f"{prefix}.{index}.{member}" not in shapes)
