"""The tokenizers that are measured: the built-in one, and two of the size of public ones, with random weights."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from import_real_size import PUBLISHED, config_of
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import vistok
from vistok.tokenizer.model import build_tokenizer

from .check import DEVICE


class Measured(NamedTuple):
    """A tokenizer, the side of the images it is measured at, and the operations that the network needs for one."""

    name: str
    tokenizer: vistok.Tokenizer
    side: int
    encoder_flop: float
    decoder_flop: float


def photo_f8(is_small: bool) -> Measured:
    """Return the built-in tokenizer."""
    return measured("photo-f8", vistok.load("photo-f8", DEVICE), 64 if is_small else 256)


def llamagen(is_small: bool) -> Measured:
    """Return a tokenizer of the size of LlamaGen's VQ-16 (arXiv 2406.06525)."""
    return measured("llamagen", random_tokenizer("llamagen", is_small), 64 if is_small else 256)


def emu35(is_small: bool) -> Measured:
    """Return a tokenizer of the size of Emu3.5's IBQ."""
    return measured("emu3.5", random_tokenizer("emu3.5", is_small), 64 if is_small else 512)


def random_tokenizer(family: str, is_small: bool) -> vistok.Tokenizer:
    """Return a tokenizer with the layers of a public one and fresh weights; a small one has 32 channels where it has 128."""
    published = PUBLISHED[family]
    if is_small:
        published = published._replace(channels=32, blocks=1, codes=1024)
    config = config_of(published)
    with DEVICE:  # weights of this size take a minute on a CPU
        model = build_tokenizer(config.architecture, config.quantizer).eval()
    return vistok.Tokenizer(model, config, DEVICE)


def measured(name: str, tokenizer: vistok.Tokenizer, side: int) -> Measured:
    """Count the operations of both networks, without calculating anything."""
    config = tokenizer.config
    with FakeTensorMode():
        model = build_tokenizer(config.architecture, config.quantizer).eval()
        pixels = torch.empty(1, 3, side, side)
        grid = config.architecture.latent_grid(side, side)
        latent = torch.empty(1, model.quantizer.dim, *grid)

        flops = _flop(model.encode_latent, pixels), _flop(model.decode_latent, latent)
    return Measured(name, tokenizer, side, *flops)


def _flop(work: Callable[[Tensor], Tensor], given: Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work(given)
    return float(counter.get_total_flops())


MODELS = (photo_f8, llamagen, emu35)
