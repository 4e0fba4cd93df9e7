"""Folders of diffusers' VQModel, for tokenizers that have its network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor

from ...tokenizer.networks.convolutional import ConvolutionalConfig
from ...tokenizer.quantizers.vector.quantizer import VQConfig
from ..importers.code_choice import CODEBOOK
from ..importers.diffusers import NAMES
from .base import Exporter, Program, Source, Written

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
KNOWN = {
    *("name", "encoder", "decoder", "latent_channels", "pixel_values", "encoder_only"),
    *("stem", "norm", "resampling", "quantizer_convolutions", "quantizer_kernel"),
}
"""Fields of the architecture that a VQModel can have any value of, or that are checked by themselves."""
KNOWN_OF_A_SIDE = {"channels", "blocks", "attention", "middle_attention"}


class DiffusersExporter(Exporter):
    """config.json and weights of a VQModel. Its pixels are those that the networks were trained with."""

    title = "diffusers"
    packages = ("diffusers",)
    install = "'.[hub-models]'"
    usage = """import torch
from diffusers import VQModel

model = VQModel.from_pretrained(".")
pixels = torch.rand(1, 3, {height}, {width}) * {span} + {black}  # RGB in [{black}, {white}]
with torch.no_grad():
    _, _, (_, _, indices) = model.quantize(model.encode(pixels).latents)
tokens = indices.view(1, 1, {height} // {side}, {width} // {side})  # {tokens}
"""
    usage_of_decoder = """with torch.no_grad():
    b, _, y, x = tokens.shape
    codes = model.quantize.get_codebook_entry(tokens.flatten(), (b, y, x, model.config.vq_embed_dim))
    images = model.decode(codes, force_not_quantize=True).sample  # b 3 h w in [{black}, {white}]
"""

    def write(self, source: Source, folder: Path) -> Written:
        reason = next(_reasons(source), None)
        if reason is not None:
            raise ValueError(
                f"A VQModel of diffusers cannot hold this tokenizer: {reason}. Give --format onnx or torch."
            )
        architecture, quantizer = source.config.architecture, source.config.quantizer
        assert isinstance(architecture, ConvolutionalConfig) and isinstance(quantizer, VQConfig)
        levels = range(len(architecture.encoder.channels))
        down = ["Attn" * (level in architecture.encoder.attention) for level in levels]
        up = ["Attn" * (level in architecture.decoder.attention) for level in reversed(levels)]
        size = source.config.preprocessing.size
        config = {
            "_class_name": "VQModel",
            "in_channels": 3,
            "out_channels": 3,
            "down_block_types": [f"{attention}DownEncoderBlock2D" for attention in down],
            "up_block_types": [f"{attention}UpDecoderBlock2D" for attention in up],
            "block_out_channels": architecture.encoder.channels,
            "layers_per_block": architecture.encoder.blocks[0],
            "act_fn": "silu",
            "latent_channels": architecture.latent_channels,
            "sample_size": size if isinstance(size, int) else 256,
            "num_vq_embeddings": quantizer.codebook_size,
            "norm_num_groups": 32,
            "vq_embed_dim": quantizer.dim,
            "norm_type": "group",
            "mid_block_add_attention": architecture.encoder.middle_attention,
        }
        weights = _renamed(source.model.state_dict(), architecture)
        save_file({name: value.contiguous() for name, value in weights.items()}, folder / WEIGHTS, {"format": "pt"})
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        return Written({"config": CONFIG, "weights": WEIGHTS}, architecture.pixel_values)

    def load(self, folder: Path) -> Program:
        from diffusers import VQModel

        model: Any = VQModel.from_pretrained(folder).eval().requires_grad_(False)

        def encode(pixels: Tensor) -> Tensor:
            latent = model.encode(pixels).latents
            return rearrange(model.quantize(latent)[2][2], "(b y x) -> b 1 y x", y=latent.shape[2], x=latent.shape[3])

        def decode(tokens: Tensor) -> Tensor:
            b, _, y, x = tokens.shape
            codes = model.quantize.get_codebook_entry(tokens.flatten(), (b, y, x, model.config.vq_embed_dim))
            return model.decode(codes, force_not_quantize=True).sample

        return Program(encode, decode)


def _renamed(weights: dict[str, Tensor], architecture: ConvolutionalConfig) -> dict[str, Tensor]:
    """Return the weights under the names that a VQModel has; its attention has linear layers, and not 1 x 1 convolutions."""
    modules = NAMES.modules(architecture)
    found = {}
    for ours, value in weights.items():
        name = CODEBOOK if ours == "quantizer.codebook.table" else NAMES.their_name(ours, modules)
        found[name] = value.flatten(1) if ".attentions." in name and value.ndim == 4 else value
    return found


def _reasons(source: Source) -> Iterator[str]:
    """Yield why a VQModel cannot hold a tokenizer, one reason after the other."""
    architecture, quantizer = source.config.architecture, source.config.quantizer
    if not isinstance(architecture, ConvolutionalConfig):
        yield f"its architecture is {architecture.name}, not convolutional"
        return
    if architecture.encoder_only:
        yield "it has no decoder"
    for key in ("stem", "norm", "resampling", "quantizer_convolutions", "quantizer_kernel"):
        value, needed = getattr(architecture, key), ConvolutionalConfig.model_fields[key].default
        if value != needed:
            yield f"its {key} is {_shown(value)}, not {_shown(needed)}"
    for key, value in architecture.model_dump(exclude_defaults=True).items():
        if key not in KNOWN:
            yield f"its {key} is {_shown(value)}, which a VQModel does not have"
    sides = {"encoder": architecture.encoder, "decoder": architecture.decoder}
    for side, stack in sides.items():
        for key, value in stack.model_dump(exclude_defaults=True).items():
            if key not in KNOWN_OF_A_SIDE:
                yield f"its {side} has {key} {_shown(value)}, which a VQModel does not have"
        if len(set(stack.blocks)) > 1:
            yield f"its {side} has {stack.blocks} blocks, not the same number at every level"
    encoder, decoder = sides.values()
    if encoder.channels != decoder.channels:
        yield f"its encoder has channels {encoder.channels} and its decoder {decoder.channels}, not the same"
    if decoder.blocks[0] != encoder.blocks[0] + 1:
        yield f"its decoder has {decoder.blocks[0]} blocks a level, not one more than the encoder's {encoder.blocks[0]}"
    if encoder.middle_attention != decoder.middle_attention:
        yield "only one of its sides has attention in the middle"
    if not isinstance(quantizer, VQConfig):
        yield f"its quantizer is {quantizer.name}, which has no table of codes"
    elif quantizer.similarity != "euclidean":
        yield f"its quantizer compares by {quantizer.similarity}, not by euclidean distance"
    elif quantizer.squash != "none":
        yield f"its quantizer has squash {quantizer.squash!r}, not 'none'"


def _shown(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
