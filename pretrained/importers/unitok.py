"""UniTok (arXiv 2502.20321): eight codebooks between ViTamin and its reverse."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...tokenizer.config import parse_config
from ...tokenizer.folder.config_json import TokenizerConfig
from ...tokenizer.networks.hybrid import HybridConfig
from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.quantizers.composed.grouped import GroupedConfig
from .base import Importer, Shapes, Take, has_tensors
from .layer_names import renamed

HEAD_WIDTH = 64
"""Channels of a head in ViTamin: base 768 / 12, large 1024 / 16."""
BACKBONE = "encoder.patch_embed.backbone"
STEM = f"{BACKBONE}.stem.conv1.weight"
CODEBOOKS, CODES = "quantizer.codebooks.{}", "codebook.weight"
TABLE = f"{CODEBOOKS}.{CODES}"
LAYERS = {
    "encoder.stem.norm.": f"{BACKBONE}.stem.norm1.",
    "encoder.stem.": f"{BACKBONE}.stem.",
    "encoder.stages.": f"{BACKBONE}.stages.",
    "encoder.norm_stages.": f"{BACKBONE}.pool.norm.",
    "encoder.to_vectors.": f"{BACKBONE}.pool.proj.",
    "encoder.norm_blocks.": "encoder.norm.",
    "encoder.projection.": "quant_proj.",
    "decoder.projection.": "post_quant_proj.",
    "decoder.norm_blocks.": "decoder.norm.",
    "decoder.from_vectors.1.": "decoder.up_conv1.conv.",
    "decoder.stages.0.": "decoder.up_conv2.",
    "decoder.stages.1.": "decoder.up_conv3.",
    "decoder.up_out.1.": "decoder.up_conv4.conv1.conv.",
    "decoder.norm_out.": "decoder.up_conv4.norm1.",
    "decoder.conv_out.": "decoder.up_conv4.conv2.",
}
"""Beginnings of names: vistok's and theirs."""
BOTTLENECK = {
    "norm.": "pre_norm.",
    "expand.": "conv1_1x1.",
    "up.1.": "up.conv.",
    "depthwise.": "conv2_kxk.",
    "contract.": "conv3_1x1.",
}
"""Layers of a convolutional block: vistok's names and theirs."""
TRANSFORMER = {
    "attention.out.": "attn.proj.",
    "attention.": "attn.",
    "mlp.gate.": "mlp.w0.",
    "mlp.value.": "mlp.w1.",
    "mlp.contract.": "mlp.w2.",
    "norm_attention.": "norm1.",
    "norm_mlp.": "norm2.",
    "norm_linear.": "norm3.",
    "linear.": "proj.",
}
"""Layers of a transformer block and of an attention projection."""


class UniTokTranslation(NamedTuple):
    """Names of ViTamin's layers and of its reverse's."""

    preprocessing: PreprocessingConfig
    """As published."""

    def config(self, shapes: Shapes, _: Mapping[str, Any]) -> TokenizerConfig:
        codes, dim, groups = shapes.rows(TABLE.format(0)), shapes.last(TABLE.format(0)), shapes.count(CODEBOOKS, CODES)
        has_attention = shapes.has("quant_proj.attn", "qkv.weight")
        architecture = {
            "latent_channels": shapes.rows("quant_proj.proj.weight" if has_attention else "quant_proj.weight"),
            "quantizer_convolutions": False,
            "projection": "attention" if has_attention else "linear",
            "encoder": _stack(shapes, "encoder", [f"{BACKBONE}.stages.{stage}" for stage in (0, 1)]),
            "decoder": _stack(shapes, "decoder", ["decoder.up_conv3", "decoder.up_conv2"]),
        }
        of_group = {"name": "vq", "dim": dim, "codebook_size": codes, "similarity": "cosine"}
        values = {
            "architecture": parse_config(HybridConfig, architecture),
            "quantizer": parse_config(GroupedConfig, {"quantizer": of_group, "groups": groups}, "quantizer"),
            "preprocessing": self.preprocessing,
        }
        return parse_config(TokenizerConfig, values)

    def weights(self, _: TokenizerConfig, names: Iterable[str], take: Take) -> dict[str, Tensor]:
        return {name: _weight(name, take) for name in names}


def _weight(name: str, take: Take) -> Tensor:
    theirs = _their_name(name)
    if re.fullmatch(r"(encoder|decoder)\.projection\.attention\.qkv\.bias", name):
        attention = theirs.removesuffix("qkv.bias")
        return torch.cat([take(f"{attention}{part}") for part in ("q_bias", "zero_k_bias", "v_bias")])
    if name == "encoder.to_vectors.bias":
        # One vector for all positions, 0 as published.
        return take(theirs) + take("encoder.pos_embed").flatten()
    return take(theirs)


def _their_name(name: str) -> str:
    if table := re.fullmatch(r"quantizer\.quantizers\.(\d+)\.codebook\.table", name):
        return TABLE.format(table[1])
    if block := re.fullmatch(r"((?:encoder|decoder)\.blocks\.\d+\.)(.*)", name):
        return block[1] + renamed(block[2], TRANSFORMER)
    if block := re.fullmatch(r"((?:encoder|decoder)\.projection\.)(.*)", name):
        return renamed(block[1], LAYERS) + renamed(block[2], TRANSFORMER)
    if block := re.fullmatch(r"((encoder|decoder)\.stages\.\d+\.\d+\.)(.*)", name):
        shortcut = {"shortcut.1.": "shortcut.expand." if block[2] == "encoder" else "shortcut.conv."}
        return renamed(block[1], LAYERS) + renamed(block[3], BOTTLENECK | shortcut)
    return renamed(name, LAYERS)


def _stack(shapes: Shapes, side: str, stages: list[str]) -> dict[str, Any]:
    """Return the levels of `encoder` or `decoder`, whose stages are given finest first."""
    width, hidden = shapes.rows(f"{side}.blocks.0.norm1.weight"), shapes.rows(f"{side}.blocks.0.mlp.w0.weight")
    return {
        "channels": [shapes.rows(f"{stage}.0.conv3_1x1.weight") for stage in stages],
        "blocks": [shapes.count(f"{stage}.{{}}", "conv3_1x1.weight") for stage in stages],
        "transformer": {
            "width": width,
            "layers": shapes.count(f"{side}.blocks.{{}}", "norm1.weight"),
            "heads": max(1, width // HEAD_WIDTH),
            "mlp": "gated",
            "expansion": hidden // max(1, width),
            "gelu": "tanh",
        },
    }


UNITOK = Importer(
    title="UniTok",
    source="https://github.com/FoundationVision/UniTok",
    licence="MIT",
    recognises=has_tensors(STEM, "encoder.blocks.0.mlp.w0.weight", TABLE.format(0)),
    translation=UniTokTranslation(
        PreprocessingConfig(
            size=256, resize_ratio=1.125, crop="even_centre", rounding="down", resampling="bilinear", colour="ignore"
        )
    ),
    notes=(
        "The short side is resized to 288 pixels by torchvision's bilinear filter, and 256 x 256 are cropped, as published.",
        "Images may have any sides that are multiples of 16; the original's decoder takes squares alone.",
    ),
    wrappers=("unitok",),
    ignored=r"(text_encoder|fc_norm|projection)\..*|logit_(scale|bias)|quantizer\.codebooks\.\d+\.vocab_usage",
)
"""The part that makes and decodes tokens; that for text is left out."""
