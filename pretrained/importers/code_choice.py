"""How the quantizer of a public tokenizer chooses its codes, and where the checkpoint keeps them."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ...tokenizer.quantizers import QuantizerConfig
from ...tokenizer.quantizers.search.nearest import Similarity
from ...tokenizer.quantizers.vector.gumbel import GumbelConfig
from ...tokenizer.quantizers.vector.quantizer import VQConfig
from .base import Shapes

CODEBOOK = "quantize.embedding.weight"


class CodeChoice(Protocol):
    """A rule of choice, which names and shapes do not show."""

    @property
    def tensors(self) -> Mapping[str, str]:
        """The quantizer's tensors: vistok's names and the checkpoint's."""

    def config(self, shapes: Shapes) -> QuantizerConfig:
        """Return the quantizer; its size follows from the shapes."""


class NearestCode(NamedTuple):
    """The nearest code of one table."""

    similarity: Similarity
    tensors: Mapping[str, str] = {"quantizer.codebook.table": CODEBOOK}

    def config(self, shapes: Shapes) -> QuantizerConfig:
        codes, dim = shapes.rows(CODEBOOK), shapes.rows("quant_conv.weight")
        return VQConfig(dim=dim, codebook_size=codes, similarity=self.similarity)


class LikeliestCode(NamedTuple):
    """The most probable code by a linear classifier; the codes themselves are a second table."""

    tensors: Mapping[str, str] = {
        "quantizer.classifier.weight": "quantize.proj.weight",
        "quantizer.classifier.bias": "quantize.proj.bias",
        "quantizer.table": "quantize.embed.weight",
    }

    def config(self, shapes: Shapes) -> QuantizerConfig:
        codes, dim = shapes.rows("quantize.proj.weight"), shapes.rows("quant_conv.weight")
        return GumbelConfig(dim=dim, codebook_size=codes)
