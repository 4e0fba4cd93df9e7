"""How images go through the encoder exactly, in float32, and tokens through the decoder."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby, islice
from typing import NamedTuple, TypeAlias

import torch
from einops import rearrange
from torch import Tensor

from ..images.preprocessing import to_bytes, to_pixels
from ..tokenizer.decoders.base import PLAIN
from ..tokenizer.exact_model import start_decoding
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import exact_batch, run_exactly
from ..tokenizer.numerics.float32 import own_numerics
from ..tokenizer.numerics.layout import memory_format, way_of
from ..tokenizer.numerics.transfer import Finish, in_flight, to_device, to_host
from ..tokenizer.shapes import Images, Pixels, Tokens

Encode: TypeAlias = Callable[[Images], Tokens]
Start: TypeAlias = Callable[[Images], Finish[Tokens]]
"""Begins to encode images; the function that it returns waits for their tokens, on the CPU."""

MAX_IMAGES = 64
"""Images that are held as pixels at a time."""
MAX_PIXELS = 1 << 24
"""Pixels of these (200 MB), unless one image has more."""
EXACT_ARITHMETIC = "float32"


def encode_images(
    images: Iterable[Images], start: Start, device: torch.device, batch_size: int | None = None
) -> Tokens:
    """Return the tokens of images, one in each tensor, in order, on `device`; raise ValueError when their grids differ."""
    tokens: list[Tokens] = []
    for encoded in in_flight(start(group) for group in _groups(images, device, batch_size)):
        tokens.append(encoded)
        if encoded.shape[2:] != tokens[0].shape[2:]:
            first, other = sorted({tuple(tokens[0].shape[2:]), tuple(encoded.shape[2:])})
            raise ValueError(
                f"The images have different token grids ({first} and {other}): encode them one at a time, or resize "
                "them to one size."
            )
    with own_numerics(device):
        return to_device(torch.cat(tokens), device)


def _groups(images: Iterable[Images], device: torch.device, batch_size: int | None) -> Iterator[Images]:
    """Join neighbours of one size, type and device."""
    for (shape, dtype, _), same in groupby(images, lambda image: (image.shape, image.dtype, image.device)):
        while group := list(islice(same, images_at_once(device, batch_size, *sides_of(shape, dtype)))):
            yield torch.cat(group)


def images_at_once(device: torch.device, batch_size: int | None, height: int, width: int) -> int:
    """Return how many images are held as pixels at a time: for a GPU whole batches, so that only the last one is padded."""
    most = min(MAX_IMAGES, MAX_PIXELS // (height * width))
    batch = 1 if device.type == "cpu" else exact_batch(batch_size, height, width)
    return max(1, most // batch) * batch


def start_exactly(
    model: VisualTokenizer, device: torch.device, batch_size: int | None, images: Images
) -> Finish[Tokens]:
    """Begin to encode images in float32; the tokens, on the CPU, are a pure function of each image.

    Thread-safe. A CPU has them at once, since each core takes one image. The function that is returned waits for the device,
    once, and raises ValueError when the encoder's output is not finite.
    """
    layout = memory_format(device, way_of(model.dtype))

    def encode(batch: Images) -> tuple[Tokens, Tensor]:
        latent = model.encode_latent(as_pixels(batch).contiguous(memory_format=layout))
        return model.quantizer(latent).tokens, latent.isfinite().flatten(1).all(dim=1)

    size = exact_batch(batch_size, *sides_of(images.shape, images.dtype))
    begun = to_host(*run_exactly(encode, images, device, size))

    def finish() -> Tokens:
        tokens, is_finite = begun()
        if not is_finite.all():
            raise ValueError("The encoder's output is NaN or infinite: load other weights, or give other pixels.")
        return tokens

    return finish


class DecoderChoice(NamedTuple):
    """A decoder by its name, and the seed of its noise, which the plain one does without."""

    name: str = PLAIN
    seed: int = 0


PLAIN_DECODER = DecoderChoice()


def start_images(
    model: VisualTokenizer,
    device: torch.device,
    batch_size: int | None,
    tokens: Tokens,
    decoder: DecoderChoice = PLAIN_DECODER,
) -> Finish[Images]:
    """Begin to decode tokens as `start_decoding` does; the function that is returned waits for the images.

    They are uint8 `b h w c` on the CPU; it raises ValueError when the decoder's output is not finite.
    """
    pixels, finite = start_decoding(model, device, batch_size, tokens, *decoder)
    with own_numerics(device):
        begun = to_host(to_bytes(pixels), finite)

    def finish() -> Images:
        images, is_finite = begun()
        check_decoded(is_finite)
        return images

    return finish


def check_decoded(is_finite: Tensor) -> None:
    """Raise ValueError unless the decoder's output is finite; for a tensor on a GPU this waits."""
    if not is_finite:
        raise ValueError("The decoder's output is NaN or infinite: load other weights, these are damaged.")


def sides_of(shape: torch.Size, dtype: torch.dtype) -> tuple[int, int]:
    """Return height and width of images: bytes are `b h w c`, pixels `b c h w`."""
    height, width = shape[1:3] if dtype == torch.uint8 else shape[2:]
    return height, width


def as_pixels(images: Images) -> Pixels:
    """Return images as pixels on their device, bit for bit the same on every device."""
    if images.dtype != torch.uint8:
        return images
    if images.device.type == "cpu":
        return to_pixels(images)
    # A GPU divides by a number by multiplying with its rounded inverse, so the 256 values come from the CPU.
    return _values(images.device)[rearrange(images, "b h w c -> b c h w").long()]


@cache
def _values(device: torch.device) -> Tensor:
    every = torch.arange(256, dtype=torch.uint8, device="cpu")
    # Waited for, once: a later caller, on another stream, would not wait for a copy that is only begun.
    return to_pixels(rearrange(every, "v -> 1 1 v 1")).flatten().to(device)


def agreement(exact: Encode, fast: Encode, images: Sequence[Images]) -> float:
    """Return the fraction of tokens, over all images, on which two functions agree."""
    same = [exact(image) == fast(image) for image in images]
    return float(torch.cat([part.flatten() for part in same]).float().mean())
