"""How the quantizer of a public tokenizer chooses its codes, and where the checkpoint keeps them."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from ...tokenizer.config import parse_config
from ...tokenizer.quantizers import QuantizerConfig
from ...tokenizer.quantizers.composed.grouped import GroupedConfig
from ...tokenizer.quantizers.scalar.binary import LFQConfig
from ...tokenizer.quantizers.search.nearest import Similarity
from ...tokenizer.quantizers.vector.gumbel import GumbelConfig
from ...tokenizer.quantizers.vector.quantizer import VQConfig
from .base import Shapes, Take

CODEBOOK = "quantize.embedding.weight"
PROJECTION = "quantize.embedding_proj.weight"


class CodeChoice(Protocol):
    """A rule of choice, which names and shapes do not show."""

    def config(self, shapes: Shapes, settings: Mapping[str, Any]) -> QuantizerConfig:
        """Return the quantizer; its size follows from the shapes, and what they do not show may be in config.json."""

    def weight(self, name: str, take: Take) -> Tensor:
        """Return the tensor that vistok calls `quantizer.NAME`, made from those of the checkpoint."""


class NearestCode(NamedTuple):
    """The nearest code of one table."""

    similarity: Similarity

    def config(self, shapes: Shapes, _: Mapping[str, Any]) -> QuantizerConfig:
        codes = shapes.rows(CODEBOOK)
        values = {"dim": _latent_dim(shapes), "codebook_size": codes, "similarity": self.similarity}
        return parse_config(VQConfig, values, "quantizer")

    def weight(self, _: str, take: Take) -> Tensor:
        return take(CODEBOOK)


class NearestProjectedCode(NamedTuple):
    """The nearest code of a table that a linear layer has mapped; vistok keeps the codes, not the layer."""

    def config(self, shapes: Shapes, _: Mapping[str, Any]) -> QuantizerConfig:
        codes = shapes.rows(CODEBOOK)
        values = {"dim": _latent_dim(shapes), "codebook_size": codes, "similarity": "euclidean"}
        return parse_config(VQConfig, values, "quantizer")

    def weight(self, _: str, take: Take) -> Tensor:
        table, projection, bias = (take(name) for name in (CODEBOOK, PROJECTION, "quantize.embedding_proj.bias"))
        # In float64, so that the codes are the same on every machine.
        return (table.double() @ projection.double().T + bias.double()).to(table.dtype)


class LikeliestCode(NamedTuple):
    """The most probable code by a linear classifier; the codes themselves are a second table."""

    def config(self, shapes: Shapes, _: Mapping[str, Any]) -> QuantizerConfig:
        codes = shapes.rows("quantize.proj.weight")
        return parse_config(GumbelConfig, {"dim": _latent_dim(shapes), "codebook_size": codes}, "quantizer")

    def weight(self, name: str, take: Take) -> Tensor:
        if name == "table":
            return take("quantize.embed.weight")
        return take(name.replace("classifier", "quantize.proj")).flatten(1 if name.endswith("weight") else 0)


class SignsOfLatent(NamedTuple):
    """The signs of the latent's channels, in groups of equal size or all as one code; there is no table."""

    bits: int | None = None
    """Channels of a group; None for one group."""

    def config(self, shapes: Shapes, _: Mapping[str, Any]) -> QuantizerConfig:
        dim = _latent_dim(shapes)
        if self.bits is None:
            return parse_config(LFQConfig, {"dim": dim}, "quantizer")
        if dim % self.bits:
            raise ValueError(f"its latent has {dim} channels, but must have a multiple of {self.bits}")
        values = {"quantizer": {"name": "lfq", "dim": self.bits}, "groups": dim // self.bits}
        return parse_config(GroupedConfig, values, "quantizer")

    def weight(self, name: str, _: Take) -> Tensor:
        raise AssertionError(f"signs need no tensor {name}")


def _latent_dim(shapes: Shapes) -> int:
    return shapes.rows("quant_conv.weight" if has_quant_conv(shapes) else "encoder.conv_out.weight")


def has_quant_conv(shapes: Shapes) -> bool:
    """Return whether there is a convolution before the quantizer, by either of its tensors."""
    return "quant_conv.weight" in shapes or "quant_conv.bias" in shapes
