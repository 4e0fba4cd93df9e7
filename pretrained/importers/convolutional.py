"""Public VQGANs that differ from vistok's convolutional networks in the names of their layers alone."""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ...tokenizer.config import parse_config
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.networks.convolutional import ConvolutionalConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Importer, Shapes, Take
from .code_choice import CodeChoice
from .layer_names import LayerNames


class ConvolutionalImporter(Importer):
    """A family with a convolutional encoder, and a decoder unless the checkpoint has none."""

    names: LayerNames = LayerNames()
    choice: CodeChoice
    preprocessing: PreprocessingConfig
    """As published."""
    pixel_values: tuple[float, float] = (-1.0, 1.0)
    """Black and white as the networks see them."""
    min_attentions: int = 1
    """Attention blocks that a level must have for the original to use them."""
    fixed_settings: Mapping[str, Any] = {}
    """Keys of config.json that must have these values where it has them, because vistok's networks have no others."""

    def config(self, shapes: Shapes, settings: Mapping[str, Any]) -> TokenizerConfig:
        for key, value in self.fixed_settings.items():
            if settings.get(key, value) != value:
                raise ValueError(f"its config.json has {key} {settings[key]!r}, but vistok's networks have {value!r}")
        quantizer = self.choice.config(shapes)
        has_decoder = "decoder.conv_in.weight" in shapes
        encoder = self._stack("encoder", shapes)
        architecture = {
            "encoder": encoder,
            "decoder": self._stack("decoder", shapes) if has_decoder else encoder,
            "latent_channels": shapes.rows("encoder.conv_out.weight"),
            "pixel_values": self.pixel_values,
            "encoder_only": not has_decoder,
        }
        return TokenizerConfig(
            architecture=parse_config(ConvolutionalConfig, architecture),
            quantizer=quantizer,
            preprocessing=self.preprocessing,
        )

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        assert isinstance(config.architecture, ConvolutionalConfig)
        modules = self.names.modules(config.architecture)
        theirs = {name: self.choice.tensors.get(name) or self.names.their_name(name, modules) for name in names}
        return {name: _reshaped(name, take(their)) for name, their in theirs.items()}

    def _stack(self, side: str, shapes: Shapes) -> dict[str, Any]:
        template = re.escape(self.names.encoder_level if side == "encoder" else self.names.decoder_level)
        found = [re.match(rf"{template.replace(re.escape('{}'), '([0-9]+)')}[.]", name) for name in shapes]
        count = len({match[1] for match in found if match})
        levels = [self.names.level(side, index, count) for index in range(count)]
        attentions = [_count(shapes, f"{level}.{self.names.attention}.{self._norm}.weight") for level in levels]
        return {
            "channels": [shapes.rows(f"{level}.{self.names.block.format(0)}.conv2.weight") for level in levels],
            "blocks": [_count(shapes, f"{level}.{self.names.block}.conv1.weight") for level in levels],
            "attention": [index for index, attention in enumerate(attentions) if attention >= self.min_attentions],
            "middle_attention": f"{side}.{self.names.middle_attention}.{self._norm}.weight" in shapes,
        }

    @property
    def _norm(self) -> str:
        return self.names.parts.get("norm", "norm")


def _reshaped(name: str, tensor: Tensor) -> Tensor:
    """Return the weights of a layer that is linear on one side and a 1 x 1 convolution on the other in vistok's shape."""
    if name == "quantizer.classifier.weight":
        return tensor.flatten(1)
    is_projection = name.endswith((".query.weight", ".key.weight", ".value.weight", ".out.weight"))
    return tensor[..., None, None] if is_projection and tensor.ndim == 2 else tensor


def _count(shapes: Shapes, name: str) -> int:
    """Return how many indices from 0 up a name with one {} has."""
    return next(index for index in itertools.count() if name.format(index) not in shapes)
