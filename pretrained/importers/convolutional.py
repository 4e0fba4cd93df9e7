"""Public VQGANs that differ from vistok's convolutional networks in the names of their layers alone."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from torch import Tensor

from ...tokenizer.config import parse_config
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.networks.convolutional import COLOURS, ConvolutionalConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Shapes, Take, TensorError
from .code_choice import CodeChoice, has_quant_conv
from .layer_names import LayerNames
from .stored_settings import wrong_setting

QUANTIZER = "quantizer."


class ConvolutionalTranslation(NamedTuple):
    """What a checkpoint with a convolutional encoder, and a decoder unless it has none, calls its layers and tensors."""

    choice: CodeChoice
    preprocessing: PreprocessingConfig
    """As published."""
    names: LayerNames = LayerNames()
    pixel_values: tuple[float, float] = (-1.0, 1.0)
    """Black and white as the networks see them."""
    options: Mapping[str, Any] = {}
    """Further fields of the architecture that names and shapes do not show."""
    without_bias: str = ""
    """Regular expression for vistok's names of biases that the original's layers do not have; they become 0."""
    conversions: Mapping[str, Callable[[Tensor], Tensor]] = {}
    """Regular expressions for vistok's names of tensors, and how to convert those of the checkpoint."""
    min_attentions: int = 1
    """Attention blocks that a level must have for the original to use them."""
    fixed_settings: Mapping[str, Any] = {}
    """Keys of config.json that must have these values where it has them, because vistok's networks have no others."""

    def config(self, shapes: Shapes, settings: Mapping[str, Any]) -> TokenizerConfig:
        for key, value in self.fixed_settings.items():
            if type(settings.get(key, value)) is not type(value) or settings.get(key, value) != value:
                raise wrong_setting(key, settings[key], f"{value!r}, as in vistok's networks")
        quantizer = self.choice.config(shapes, settings)
        has_decoder = shapes.has("decoder", "conv_in.weight")
        encoder = self.stack("encoder", shapes)
        architecture = {
            **_ends(shapes, encoder["channels"]),
            "encoder": encoder,
            "decoder": self.stack("decoder", shapes) | self._norms(shapes) if has_decoder else encoder,
            "latent_channels": shapes.rows("encoder.conv_out.weight"),
            "pixel_values": self.pixel_values,
            "encoder_only": not has_decoder,
            **self.options,
        }
        values = {
            "architecture": parse_config(ConvolutionalConfig, architecture),
            "quantizer": quantizer,
            "preprocessing": self.preprocessing,
        }
        return parse_config(TokenizerConfig, values)

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        assert isinstance(config.architecture, ConvolutionalConfig)
        return self.tensors(config.architecture, names, take)

    def tensors(self, architecture: ConvolutionalConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        """Return a tensor for each of `names` in a tokenizer of an architecture, or in its encoder or decoder alone."""
        modules = self.names.modules(architecture)
        take = cache(_with_dimensions(take))  # projections may be one tensor
        tensors: dict[str, Tensor] = {}
        for name in names:
            if name.startswith(QUANTIZER):
                tensors[name] = self.choice.weight(name.removeprefix(QUANTIZER), take)
            elif re.fullmatch(self.without_bias, name):
                weight = f"{name.removesuffix('bias')}weight"
                kernels = tensors[weight] if weight in tensors else take(self.names.their_name(weight, modules))
                tensors[name] = kernels.new_zeros(len(kernels))
            else:
                tensors[name] = self._converted(name, take(self.names.their_name(name, modules)))
        return tensors

    def stack(self, side: str, shapes: Shapes) -> dict[str, Any]:
        """Return the levels of `encoder` or `decoder`."""
        template = re.escape(self.names.encoder_level if side == "encoder" else self.names.decoder_level)
        found = [re.match(rf"{template.replace(re.escape('{}'), '([0-9]+)')}[.]", name) for name in shapes]
        depth = len({match[1] for match in found if match})
        if not depth:
            _ = shapes[
                f"{self.names.level(side, 0, 1)}.{self.names.block.format(0)}.conv1.weight"
            ]  # which says that it is missing
        levels = [self.names.level(side, index, depth) for index in range(depth)]
        attentions = [shapes.count(f"{level}.{self.names.attention}", f"{self._projection}.weight") for level in levels]
        resampler = self.names.downsample if side == "encoder" else self.names.upsample
        resampled = [
            _finer(side, index) for index in range(depth) if shapes.has(f"{levels[index]}.{resampler}", "weight")
        ]
        return {
            "channels": [shapes.rows(f"{level}.{self.names.block.format(0)}.conv2.weight") for level in levels],
            "blocks": [shapes.count(f"{level}.{self.names.block}", "conv1.weight") for level in levels],
            "attention": [index for index, attention in enumerate(attentions) if attention >= self.min_attentions],
            "middle_blocks": max(
                1, sum(shapes.has(f"{side}.{name}", "conv1.weight") for name in self.names.middle_blocks)
            ),
            "middle_attention": shapes.has(f"{side}.{self.names.middle_attention}", f"{self._projection}.weight"),
            # Where no level has a convolution for the change of the grid, the changes have no weights.
            "shared_grids": [index + 1 for index in range(depth - 1) if resampled and index not in resampled],
        }

    def _norms(self, shapes: Shapes) -> dict[str, bool]:
        return {"adaptive_norm": shapes.has(f"decoder.{self.names.adaptive_norm.format(0)}", "gamma.weight")}

    def _converted(self, name: str, tensor: Tensor) -> Tensor:
        for pattern, conversion in self.conversions.items():
            if re.fullmatch(pattern, name):
                return conversion(tensor)
        # The layer may be linear in the checkpoint.
        is_projection = name.endswith((".query.weight", ".key.weight", ".value.weight", ".out.weight"))
        return tensor[..., None, None] if is_projection and tensor.ndim == 2 else tensor

    @property
    def _projection(self) -> str:
        return self.names.parts["out"]


def _with_dimensions(take: Take) -> Take:
    """Refuse tensors that are a single number: the networks have none."""

    def taken(name: str) -> Tensor:
        tensor = take(name)
        if not tensor.ndim:
            raise TensorError("its tensor {} is a single number", name)
        return tensor

    return taken


def _ends(shapes: Shapes, channels: Sequence[int]) -> dict[str, Any]:
    """Return what the first convolution and those around the quantizer show; `channels` are those of the encoder's levels."""
    width, colours = (shapes["encoder.conv_in.weight"] + (0, 0))[:2]
    return {
        "stem": math.isqrt(colours // COLOURS),
        "stem_channels": width if [width] != channels[:1] else None,
        "quantizer_kernel": shapes.last("quant_conv.weight") if has_quant_conv(shapes) else 1,
    }


def _finer(side: str, index: int) -> int:
    """Return the finer of the two levels around the change of the grid that the level with an index holds."""
    return index if side == "encoder" else index - 1
