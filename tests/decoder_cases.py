"""Tokenizers of every shape that an extra decoder meets, and small decoders of every kind."""

from pathlib import Path

import torch
from transformer_networks import ATTENDING, HYBRID, LATENT_TOKENS, SOFT_CODES

import vistok
from samples import small_tokenizer
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.decoders.base import DecoderCard
from vistok.tokenizer.decoders.table import DECODERS
from vistok.tokenizer.folder.decoders import load_decoders, save_decoder
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.model import VisualTokenizer
from vistok.tokenizer.networks.architectures import ARCHITECTURES
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.shapes import Latent

LEVELS = {"channels": [32, 32], "blocks": [1, 1]}
CONVOLUTIONAL = {"name": "convolutional", "encoder": LEVELS, "decoder": LEVELS, "latent_channels": 8}
VQ = {"name": "vq", "dim": 4, "codebook_size": 32}
FSQ = {"name": "fsq", "levels": [8, 5, 5]}
RESIDUAL = {"name": "residual", "quantizer": VQ, "depth": 3}
CASES = {
    "convolutional": (CONVOLUTIONAL, VQ),
    "bare": (
        CONVOLUTIONAL | {"quantizer_convolutions": False, "latent_channels": 3, "stem": 4},
        {"name": "fsq", "levels": [8, 5, 5]},
    ),
    "codebooks": (CONVOLUTIONAL | {"pixel_values": [0, 1], "quantizer_kernel": 3}, RESIDUAL),
    "adaptive": (CONVOLUTIONAL | {"decoder": LEVELS | {"adaptive_norm": True}}, VQ),
    "fixed": (CONVOLUTIONAL | {"image_size": 16}, VQ),
    "modulated": ({"name": "modulated", "encoder": LEVELS, "decoder": LEVELS, "latent_blocks": 1}, VQ),
    "hybrid": (HYBRID, VQ),
    "attention": (ATTENDING, VQ | {"dim": 8}),
    "latent_tokens": (LATENT_TOKENS, VQ),
    "soft_codes": (SOFT_CODES, VQ),
}
"""Architecture and quantizer by name."""
SMALL = {
    "noise_channels": {"name": "noise_channels", "noise": 3},
    "residual_unet": {"name": "residual_unet", "channels": [8, 16, 16], "blocks": 1, "time_channels": 8},
}
"""A small decoder of each kind."""


def tokenizer_of(case: str, kind: str = "", steps: int = 1) -> VisualTokenizer:
    """Build a tokenizer of CASES, with a decoder named generative of the given kind whose weights are all drawn."""
    architecture, quantizer = CASES[case]
    torch.manual_seed(0)
    model = small_tokenizer(quantizer, architecture=parse_choice(ARCHITECTURES, architecture, "architecture"))
    if kind:
        extra = parse_choice(DECODERS, SMALL[kind], "decoder").build(model.architecture, model.quantizer.dim)
        extra.start_from(model.plain)
        draw(extra)
        extra.scale, extra.steps = 0.25, steps
        model.decoders["generative"] = extra
    return model.eval().requires_grad_(False)


def draw(module: torch.nn.Module) -> None:
    """Give weights that start at zero values that show."""
    for parameter in module.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)


def some_codes(model: VisualTokenizer, grid: tuple[int, int] = (2, 2), count: int = 1) -> Latent:
    """Return the codes of random tokens, on a grid where the networks take any."""
    return model.quantizer.lookup(some_tokens(model, grid, count))


def some_tokens(model: VisualTokenizer, grid: tuple[int, int] = (2, 2), count: int = 1) -> torch.Tensor:
    """Return random tokens."""
    size = model.architecture.image_size
    latent_grid = grid if size is None else model.architecture.latent_grid(size, size)
    shape = (count, model.quantizer.num_codebooks, *model.quantizer.token_grid(*latent_grid))
    return torch.randint(model.quantizer.vocab_size, shape)


def saved_folder(folder: Path, case: str = "convolutional", kind: str = "residual_unet", steps: int = 1) -> Path:
    """Write a tokenizer folder with a decoder named generative, on whose card are figures; return the folder."""
    model = tokenizer_of(case, kind, steps)
    extra = model.decoders.pop("generative")
    size = model.architecture.image_size or 16
    preprocessing = PreprocessingConfig(size=size)
    save_tokenizer(folder, model, model.architecture, preprocessing, "# small\n")
    extra.card = DecoderCard(images=2, judge="noise", figures={"psnr": 20.0}, plain={"psnr": 21.0}, milliseconds=3.0)
    save_decoder(folder, "generative", extra, load_tokenizer(folder).model)
    return folder


def with_decoders(tokenizer_folder: Path, folder: Path) -> Path:
    """Write the tokenizer of a folder with two decoders whose noise shows, gan and flow; return the new folder."""
    tokenizer = vistok.load(tokenizer_folder, device="cpu")
    model = tokenizer.model
    for name, kind in (("gan", "noise_channels"), ("flow", "residual_unet")):
        torch.manual_seed(1)
        extra = parse_choice(DECODERS, SMALL[kind], "decoder").build(model.architecture, model.quantizer.dim)
        extra.start_from(model.plain)
        draw(extra)
        model.decoders[name] = extra.eval().requires_grad_(False)
    tokenizer.save_pretrained(folder)
    return folder


def loaded(folder: Path) -> VisualTokenizer:
    """Load a tokenizer with its extra decoders."""
    model = load_tokenizer(folder).model
    load_decoders(folder, model)
    return model
