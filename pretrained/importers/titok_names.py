"""What TiTok calls the layers of its transformers."""

import re
from collections.abc import Mapping

from torch import Tensor

from .base import Take
from .code_choice import CODEBOOK
from .layer_names import renamed

PARTS = {
    "attention.qkv.weight": "attn.in_proj_weight",
    "attention.qkv.bias": "attn.in_proj_bias",
    "attention.out.": "attn.out_proj.",
    "norm1.": "ln_1.",
    "norm2.": "ln_2.",
    "mlp.expand.": "mlp.c_fc.",
    "mlp.contract.": "mlp.c_proj.",
}
"""Layers of a block: vistok's names and theirs."""
LAYERS = {
    "encoder.patches.": "encoder.patch_embed.",
    "encoder.to_latent.": "encoder.conv_out.",
    "decoder.from_latent.": "decoder.decoder_embed.",
    "decoder.latent_positions": "decoder.latent_token_positional_embedding",
    "quantizer.codebook.table": CODEBOOK,
}


def weight_of(name: str, layers: Mapping[str, str], take: Take) -> Tensor:
    """Return the weight that vistok calls `name`; `layers` are the beginnings of further names, vistok's and theirs.

    Vectors that the original adds up before anything else are one in vistok.
    """
    side, _, part = name.partition(".")
    if part == "class_token":
        return take(f"{side}.class_embedding") + take(f"{side}.positional_embedding")[:1]
    if part == "positions":
        return take(f"{side}.positional_embedding")[1:]
    if part == "latent_tokens":
        return take("latent_tokens") + take("encoder.latent_token_positional_embedding")
    if part == "mask_tokens":
        return take("decoder.mask_token")[0] + take("decoder.positional_embedding")[1:]
    weight = take(_their_name(name, layers))
    return weight.flatten(1) if name == "encoder.to_latent.weight" else weight


def _their_name(name: str, layers: Mapping[str, str]) -> str:
    if block := re.match(r"(encoder|decoder)\.blocks\.(\d+)\.(.*)", name):
        return f"{block[1]}.transformer.{block[2]}.{renamed(block[3], PARTS)}"
    if norm := re.match(r"(encoder|decoder)\.norm_(in|out)\.(.*)", name):
        return f"{norm[1]}.ln_{'pre' if norm[2] == 'in' else 'post'}.{norm[3]}"
    return renamed(name, {**LAYERS, **layers})
