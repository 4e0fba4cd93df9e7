"""The tokenizer of Emu3 (arXiv 2409.18869): a video tokenizer, of which still images need two dimensions alone."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from torch import Tensor

from ...tokenizer.config import parse_config
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.networks.modulated import ModulatedConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from . import still_frame
from .base import RESIZED_AS_TENSORS, Importer, Shapes, Take, TensorError
from .code_choice import NearestCode
from .convolutional import ConvolutionalTranslation
from .layer_names import LayerNames

NETWORK = ".network."
"""Comes after the side in vistok's names of what is convolutional."""
MODULATION = {
    r"(norm\w*)\.norm\.(\w+)$": r"\1.norm_layer.\2",
    r"\.scale\.(\w+)$": r".conv_y.\1",
    r"\.shift\.(\w+)$": r".conv_b.\1",
}
"""Names of the parts of modulated norms, as regular expressions."""
TIME_CONVOLUTION = "{}.time_conv.{}.conv.conv"
LATENT_BLOCK = "{}.time_res_stack.{}"
AROUND = {"encoder": "quant_conv.conv", "decoder": "post_quant_conv.conv"}


class StillFrameTranslation(NamedTuple):
    """Layers over time become layers over the latent of a still image, and batch norms part of them."""

    networks: ConvolutionalTranslation
    """Of what is convolutional."""
    aside: Mapping[str, str] = {}
    """Where the checkpoint has other names than the networks' layers have, as regular expressions."""

    def recognises(self, shapes: Shapes) -> bool:
        needed = (TIME_CONVOLUTION.format("encoder", 0), self.networks.names.level("encoder", 0, 1) + ".block.0.conv1")
        return all(f"{name}.weight" in shapes for name in needed)

    def config(self, shapes: Shapes, settings: Mapping[str, Any]) -> TokenizerConfig:
        channels = shapes.rows("encoder.conv_out.weight")
        halvings = shapes.count(TIME_CONVOLUTION.format("encoder", "{}"), "weight")
        architecture = {
            "encoder": self.networks.stack("encoder", shapes),
            "decoder": self.networks.stack("decoder", shapes),
            "latent_channels": channels,
            "latent_convolutions": [channels * frames for frames in _frames(halvings)[1:]],
            "latent_blocks": shapes.count(LATENT_BLOCK.format("encoder", "{}"), "conv1.conv.weight"),
        }
        values = {
            "architecture": parse_config(ModulatedConfig, architecture),
            "quantizer": self.networks.choice.config(shapes, settings),
            "preprocessing": self.networks.preprocessing,
        }
        return parse_config(TokenizerConfig, values)

    def weights(self, config: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        assert isinstance(config.architecture, ModulatedConfig)
        architecture = config.architecture
        names, take = list(names), cache(take)  # batch norms are part of two tensors
        frames = _frames(len(architecture.latent_convolutions))
        folded = {name: name for name in names if re.match(r"(en|de)coder\.(convolutions|blocks|project)\.", name)}
        plain = {name.replace(NETWORK, "."): name for name in names if name not in folded}
        found = self.networks.tensors(architecture.convolutional(), plain, lambda name: take(self._renamed(name)))
        weights = {name: found[short] for short, name in plain.items()}
        return weights | {name: _folded(name, frames, _with_right_dimensions(take)) for name in folded}

    def _renamed(self, name: str) -> str:
        for pattern, replacement in {**MODULATION, **self.aside}.items():
            name = re.sub(pattern, replacement, name)
        return name


def _frames(halvings: int) -> list[int]:
    """Return how many frames there are before, between and after the layers that halve them."""
    return [2**power for power in range(halvings, -1, -1)]


def _with_right_dimensions(take: Take) -> Take:
    """Refuse convolutions that are not over time, and other tensors of the layers between that are no vectors."""

    def taken(name: str) -> Tensor:
        tensor, wanted = take(name), 5 if name.endswith("conv.weight") else 1
        if tensor.ndim != wanted:
            raise TensorError(f"its tensor {{}} has {tensor.ndim} dimensions, but must have {wanted}", name)
        return tensor

    return taken


def _folded(name: str, frames: list[int], take: Take) -> Tensor:
    """Return a tensor of the layers between a network and the quantizer."""
    side, part, *path = name.split(".")
    parameter = path[-1]
    if part == "blocks":
        return still_frame.block_weight(".".join(path[1:]), LATENT_BLOCK.format(side, path[0]), take)
    if part == "project":
        return still_frame.last(take(f"{AROUND[side]}.{parameter}"))
    index = int(path[0]) // 2  # every second layer is SiLU
    tensor = take(f"{TIME_CONVOLUTION.format(side, index)}.{parameter}")
    if side == "decoder":
        return still_frame.last(tensor)
    return still_frame.shrinking(tensor, frames[index], is_still=index == 0)


NAMES_OF_TRANSFORMERS = LayerNames(
    encoder_level="encoder.down_block.down.{}",
    decoder_level="decoder.up_block.up.{}",
    middle_blocks=("middle_block.block_1", "middle_block.block_2"),
    middle_attention="middle_block.attn_1",
    parts={"shortcut": "nin_shortcut", "query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"},
)
TRANSLATION = StillFrameTranslation(
    ConvolutionalTranslation(NearestCode("euclidean"), PreprocessingConfig(size="area:512-1024", colour="ignore"))
)
TRANSLATION_OF_TRANSFORMERS = StillFrameTranslation(
    TRANSLATION.networks._replace(names=NAMES_OF_TRANSFORMERS),
    aside={r"\.attn\.(\d+)\.norm\.": r".attn_norms.\1.", r"\.attn_1\.norm\.": ".attn_norm."},
)
"""Attention is linear layers with norms aside."""
EMU3 = Importer(
    title="Emu3",
    source="https://github.com/baaivision/Emu3",
    licence="Apache-2.0",
    recognises=TRANSLATION.recognises,
    translation=TRANSLATION,
    notes=(
        "It tokenizes still images alone: the original repeats them in time, for which vistok has folded its layers over time.",
        "Images keep their aspect ratio, and their size from an area of 512 x 512 to one of 1024 x 1024 pixels, as published.",
    ),
    ignored=r".*\.num_batches_tracked",
)
EMU3_OF_TRANSFORMERS = EMU3._replace(
    title="Emu3 (transformers)",
    recognises=TRANSLATION_OF_TRANSFORMERS.recognises,
    translation=TRANSLATION_OF_TRANSFORMERS,
    notes=(
        *EMU3.notes,
        RESIZED_AS_TENSORS,
        "transformers' processor subtracts other means unless its config says 0.5; vistok's pixels are in [-1, 1], as the "
        "original's.",
    ),
    prefixes=("model.vqmodel.",),
)
"""The part of transformers' language model."""
