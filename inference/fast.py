"""The fast encoder: bfloat16 where the device multiplies it, compiled where that pays, and no wait between batches."""

import copy
import warnings
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from ..images.preprocessing import to_pixels
from ..tokenizer.devices import multiplies_bfloat16
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.networks.base import NoDecoder
from ..tokenizer.numerics.exact import DEVICE_BATCH, filled_up
from ..tokenizer.numerics.layout import memory_format
from ..tokenizer.numerics.transfer import Finish, to_device, to_host
from ..tokenizer.shapes import Images, Tokens
from .arithmetic import sides_of
from .batch_limit import BatchLimit, parse_limit

COMPILED, EAGER = "compiled", "eager"
COMPILING_PAYS = 2_000_000_000
"""Bytes of images (about 20,000 files) that repay the half minute of compiling."""
CPU_BATCH = 8
COMPILE_MODE = "default"
"""CUDA graphs (reduce-overhead) save launches, which batches of the probed size hide behind the work, and tie a network to the
thread that recorded it, which would be the wrong one: encoders run in threads."""


def fast_precision(device: torch.device, compiled: bool, batch_size: int | BatchLimit | None = None) -> str:
    """Return what `FastEncoder` calculates in, such as `bfloat16-compiled-8`; only equal ones give equal tokens everywhere.

    Where images differ in size, the last part is a budget of tokens, such as 8192t.
    """
    dtype = "bfloat16" if multiplies_bfloat16(device) else "float32"
    size = batch_size or fast_batch(device)
    return f"{dtype}-{COMPILED if compiled else EAGER}-{size}"


def fast_batch(device: torch.device) -> int:
    """Return how many images of 256 x 256 a batch has, unless it is measured or given."""
    return CPU_BATCH if device.type == "cpu" else DEVICE_BATCH


class FastEncoder:
    """Encodes images in a precision of `fast_precision`; a few tokens may differ from the exact ones. Thread-safe.

    All batches of a size of image have one shape, the last one padded, so the network is compiled once for it; a second size
    is compiled for all further sizes. It keeps the weights that the model has when it is made.
    """

    def __init__(self, model: VisualTokenizer, device: torch.device, precision: str):
        dtype, form, batch_size = precision.split("-")
        self._device = device
        self._limit = parse_limit(batch_size)
        self._downsample = model.downsample
        build = _cpu_network if device.type == "cpu" else _device_network
        self._network = build(model, device, dtype, _compiled if form == COMPILED else None)

    def __call__(self, images: Images) -> Tokens:
        """Return the tokens of images, on the CPU."""
        return self.start(images)()

    @torch.inference_mode()
    def start(self, images: Images) -> Finish[Tokens]:
        """Begin to encode images, on a CPU also to the end; the function that is returned waits for their tokens."""
        size = self._limit.images(*sides_of(images.shape, images.dtype), self._downsample)
        tokens = [filled_up(self._encode, to_device(part, self._device), size)[0] for part in images.split(size)]
        finish = to_host(torch.cat(tokens))
        return lambda: finish()[0]

    def _encode(self, batch: Images) -> tuple[Tokens]:
        return (self._network(batch),)


Network: TypeAlias = Callable[[Tensor], Tensor]


def _compiled(network: Network) -> Network:
    # The products that stay in float32 are those of the search, which tf32 would round.
    warnings.filterwarnings("ignore", "TensorFloat32 tensor cores", UserWarning)
    # einops learns of a kind of array when it first sees one, after which the compiler would start over.
    rearrange(np.empty(1), "n -> n")
    compiled = torch.compile(network, mode=COMPILE_MODE)
    # A view would be compiled again whenever the tensor behind it has another size.
    return lambda batch: compiled(batch.clone())


def _cpu_network(
    model: VisualTokenizer, device: torch.device, dtype: str, compiled: Callable[[Network], Network] | None
) -> Network:
    layout = memory_format(device)
    inner = compiled(model.encode) if compiled else model.encode

    def encode(batch: Images) -> Tokens:
        pixels = to_pixels(batch) if batch.dtype == torch.uint8 else batch
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            return inner(pixels.contiguous(memory_format=layout))

    return encode


def _device_network(
    model: VisualTokenizer, device: torch.device, dtype: str, compiled: Callable[[Network], Network] | None
) -> Network:
    """Return an encoder with weights of its own in half precision, which autocast would round again in every batch.

    Its norms also return that type, half of what they write under autocast.
    """
    layout = memory_format(device, "compiled" if compiled else "half")
    own = encoder_alone(model, torch.bfloat16 if dtype == "bfloat16" else torch.float32, layout)

    def encode(batch: Images) -> Tokens:
        pixels = to_pixels(batch) if batch.dtype == torch.uint8 else batch
        return own.encode(pixels.to(own.dtype).contiguous(memory_format=layout))

    network = compiled(encode) if compiled else encode
    return lambda batch: network(batch.contiguous())


def encoder_alone(model: VisualTokenizer, dtype: torch.dtype, layout: torch.memory_format) -> VisualTokenizer:
    """Return the encoder and the quantizer of a model, the weights of the networks copied, cast and laid out."""
    encoder, quantizer_in = copy.deepcopy(model.encoder), copy.deepcopy(model.quantizer_in)
    own = VisualTokenizer(encoder, quantizer_in, model.quantizer, nn.Identity(), NoDecoder(), model.architecture)
    own.cast_networks(dtype)
    encoder.to(memory_format=layout)
    quantizer_in.to(memory_format=layout)
    return own.eval()
