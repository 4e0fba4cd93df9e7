"""Images per second from tokens to pixels, exactly."""

from functools import partial

import torch

from .check import Check
from .encode import rate
from .models import MODELS, Measured


def run(check: Check) -> None:
    """Decode to tensors on the device and to images on the host, and one image alone."""
    for make in MODELS[:2]:
        with check.attempt(make.__name__):
            model = make(check.is_small)
            decode(check, model)


def decode(check: Check, model: Measured) -> None:
    """Decode random tokens."""
    tokenizer = model.tokenizer
    count = 2 if check.is_small else 256 if model.name == "photo-f8" else 64
    grid = tokenizer.config.architecture.latent_grid(
        model.side, model.side
    )  # of images of this side, which are not resized
    shape = count, tokenizer.num_codebooks, *grid
    tokens = torch.randint(tokenizer.vocab_size, shape)
    for output, name in (("tensor", "decode to tensors"), ("pil", "decode to images")):
        work = partial(_decode, tokenizer, tokens, output)
        rate(check, model, name, work, flop=model.decoder_flop, exact=True)
    alone = partial(_decode, tokenizer, tokens[:1], "tensor")
    rate(check, model, "decode one image", alone, flop=model.decoder_flop, exact=True)


def _decode(tokenizer: object, tokens: torch.Tensor, output: str) -> int:
    return len(tokenizer.decode(tokens, output=output))
