"""`vistok.load`, and the tokenizer that it returns."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..images.preprocessing import to_images
from ..pretrained.find import DEFAULT_MODEL, find_tokenizer
from ..tokenizer.devices import find_device
from ..tokenizer.folder.fingerprint import FingerprintCache
from ..tokenizer.folder.save_load import TokenizerConfig, load_tokenizer, save_tokenizer
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import DEVICE_BATCH, batch_for, run_exactly
from ..tokenizer.numerics.float32 import own_numerics
from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.quantizers.layout import check_tokens
from ..tokenizer.shapes import Pixels, Tokens
from .arithmetic import exact_encode
from .encode_inputs import ImageLike, images_to_pixels, whole_numbers
from .hub import CARD, upload

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
AT_ONCE = 64
"""Images that are held as pixels at a time."""
AT_ONCE_PIXELS = 1 << 24
"""Pixels of them (200 MB) from which on no other is added."""


class Tokenizer:
    """Images to tokens and back, with the preprocessing the model was trained with.

    An ordinary object: it pickles, deep-copies and works in other processes and in several threads at once. What it
    calculates is float32 and exact, whatever autocast, default types or precision the caller has set: an image has the same
    tokens in any company. On a GPU, images go through the network in batches of `batch_size`, by default 16, the last one
    filled up. On a CPU each core takes one image at a time, as many cores as `torch.get_num_threads()`.
    """

    def __init__(
        self, model: VisualTokenizer, config: TokenizerConfig, device: torch.device, batch_size: int | None = None
    ):
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, but must be at least 1, or None for what suits the device.")
        with own_numerics(device):
            self.model = model.to(device).to(memory_format=torch.channels_last)
        self.config = config
        self.batch_size = batch_size or DEVICE_BATCH
        self._fingerprints = FingerprintCache()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        device: str | torch.device = "auto",
        batch_size: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "Tokenizer":
        """Do what `vistok.load` does."""
        if not str(model):
            raise ValueError("load got an empty name: give a built-in name, a tokenizer folder, or hf://owner/repo.")
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype}, but must be {' or '.join(map(str, DTYPES))}.")
        found = find_device(device)
        loaded = load_tokenizer(find_tokenizer(str(model)))
        loaded.model.cast_networks(dtype)
        return cls(loaded.model, loaded.config, found, batch_size)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a tokenizer folder, which gives the same tokens and images and has the same fingerprint.

        Raises ValueError for a tokenizer that was loaded in half precision, whose weights are rounded.
        """
        if self.model.dtype != torch.float32:
            raise ValueError(
                f"The weights are rounded to {self.model.dtype}: load the tokenizer in float32 to save it."
            )
        save_tokenizer(
            Path(folder),
            self.model,
            self.config.architecture,
            self.config.preprocessing,
            CARD,
            with_training_state=True,
        )

    def push_to_hub(self, repo: str, private: bool = False) -> str:
        """Upload the tokenizer folder to OWNER/REPO of the Hugging Face hub, made if needed; return the commit's address.

        Raises ValueError when the hub refuses.
        """
        return upload(self.save_pretrained, repo, private)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def fingerprint(self) -> str:
        """SHA-256 of encoder, quantizer and preprocessing: equal fingerprints give interchangeable tokens.

        It is that of the weights as they are now, and calculated when it is asked for. Changes through `.data`, which torch
        takes no note of, are not seen.
        """
        return self._fingerprints.of(self.model, self.config)

    def to(self, device: str | torch.device) -> "Tokenizer":
        """Move the model, as `torch.nn.Module.to` does, and return this tokenizer itself.

        Tokenizers that share the model (`with_preprocessing`) move with it. Raises ValueError when there is no such device.
        """
        found = find_device(device)
        with own_numerics(found):
            self.model.to(found)
        return self

    def encode_pixels(self, pixels: Pixels) -> Tokens:
        """Return the tokens `b q y x`, on the CPU, of pixels `b c h w` in [-1, 1] on any device, exactly.

        Raises ValueError when the pixels are not floats of such a shape, or their sides no multiples of `downsample`.
        """
        if not isinstance(pixels, Tensor) or not pixels.is_floating_point() or pixels.ndim != 4 or not pixels.numel():
            kind = f"{pixels.dtype} {tuple(pixels.shape)}" if hasattr(pixels, "dtype") else type(pixels).__name__
            raise ValueError(
                f"encode_pixels got {kind}, but takes a float tensor b c h w in [-1, 1]: convert it, or use encode."
            )
        return exact_encode(self.model, self.device, self.batch_size)(pixels.float())

    @property
    def vocab_size(self) -> int:
        """Codes of each codebook: tokens lie in [0, vocab_size)."""
        return self.model.quantizer.vocab_size

    @property
    def num_codebooks(self) -> int:
        """Tokens a position, the `q` of `b q y x`."""
        return self.model.quantizer.num_codebooks

    @property
    def downsample(self) -> int:
        """Pixels along one side of a token."""
        return self.model.downsample

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the token grid `(y, x)` that `encode` makes of a image file or array of `height` x `width` pixels.

        With a fixed size of the preprocessing it is the same for all; natively a token covers `downsample` pixels, the last
        ones begun rather than left out. Tensors are taken as they are, and so have the grid of a native image.
        Raises ValueError for less than one pixel.
        """
        if height < 1 or width < 1:
            raise ValueError(
                f"grid got {height} x {width} pixels, but an image has at least 1 x 1: give its height and width."
            )
        if self.config.preprocessing.size != "native":
            height = width = self.config.preprocessing.size
        return self.model.quantizer.token_grid(-(-height // self.downsample), -(-width // self.downsample))

    def with_preprocessing(self, preprocessing: PreprocessingConfig) -> "Tokenizer":
        """Return this tokenizer with other preprocessing, and so another fingerprint; the model is shared."""
        other = copy.copy(self)
        other.config = self.config.model_copy(update={"preprocessing": preprocessing})
        return other

    def encode(self, images: ImageLike | list[ImageLike]) -> Tokens:
        """Return the tokens `b q y x` (int64, on `device`) of one image or a list of them, in float32.

        Paths, PIL images and uint8 arrays `h w c` are resized and cropped as `config.preprocessing` says; tensors
        `c h w` or `b c h w`, uint8 or float in [0, 1], are taken as they are. An image's tokens do not depend on the
        others of the list. Raises ValueError when an image cannot be used or the grids differ.
        """
        pixels = images_to_pixels(images, self.config.preprocessing, self.downsample)
        tokens: list[Tokens] = []
        while some := _some(pixels):
            tokens += self._encode_each(some)
            grids = sorted({tuple(part.shape[2:]) for part in tokens})
            if len(grids) > 1:
                raise ValueError(
                    f"The images have different token grids ({grids[0]} and {grids[1]}): encode them one at a time, or at "
                    "one size."
                )
        with own_numerics(self.device):
            return torch.cat(tokens).to(self.device)

    def _encode_each(self, images: list[Pixels]) -> list[Tokens]:
        """Return the tokens of images `1 c h w` in their order, those of one shape encoded together."""
        tokens: dict[int, Tokens] = {}
        for shape in {image.shape for image in images}:
            indices = [index for index, image in enumerate(images) if image.shape == shape]
            batch = torch.cat([images[index].to(self.device) for index in indices])
            tokens.update(zip(indices, self.encode_pixels(batch).split(1), strict=True))
        return [tokens[index] for index in range(len(images))]

    @overload
    def decode(self, tokens: Tensor | np.ndarray, output: Literal["pil"] = "pil") -> list[Image.Image]: ...

    @overload
    def decode(self, tokens: Tensor | np.ndarray, output: Literal["tensor"]) -> Tensor: ...

    def decode(
        self, tokens: Tensor | np.ndarray, output: Literal["pil", "tensor"] = "pil"
    ) -> list[Image.Image] | Tensor:
        """Return the images of tokens `b q y x`: PIL images, or a float tensor `b c h w` in [0, 1] on `device`.

        Raises ValueError when the tokens have another shape or lie outside the vocabulary.
        """
        if output not in ("pil", "tensor"):
            raise ValueError(f"decode got output={output!r}, but takes 'pil' or 'tensor'.")
        quantizer = self.model.quantizer
        checked = check_tokens(whole_numbers(tokens), quantizer.num_codebooks, quantizer.vocab_size)

        def decoded(batch: Tokens) -> tuple[Pixels]:
            return (self.model.decode_latent(quantizer.codes_of(batch)),)

        def shown(pixels: Pixels) -> Pixels:
            if not pixels.isfinite().all():
                raise ValueError(
                    "The decoder gives values that are NaN or infinite: load other weights, these are damaged."
                )
            return pixels.clamp(-1, 1)

        size = batch_for(self.batch_size, *(side * self.downsample for side in checked.shape[2:]))
        parts = (shown(run_exactly(decoded, part, self.device, size)[0]) for part in checked.split(AT_ONCE))
        with own_numerics(self.device):
            if output == "pil":
                return [image for part in parts for image in to_images(part)]
            return (torch.cat(list(parts)) + 1) / 2

    def __repr__(self) -> str:
        return (
            f"Tokenizer({self.config.quantizer.name}, {self.num_codebooks} x {self.vocab_size} codes, "
            f"f{self.downsample}, {self.fingerprint[:12]})"
        )


def _some(images: Iterator[Pixels]) -> list[Pixels]:
    """Take images until there are AT_ONCE of them, or AT_ONCE_PIXELS."""
    taken: list[Pixels] = []
    while len(taken) < AT_ONCE and sum(image[0, 0].numel() for image in taken) < AT_ONCE_PIXELS:
        image = next(images, None)
        if image is None:
            break
        taken.append(image)
    return taken


def load(
    model: str | Path = DEFAULT_MODEL,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tokenizer:
    """Load a tokenizer: a built-in name such as photo-f8, a tokenizer folder, or hf://owner/repo.

    Only the last needs the network. `device` is auto for a GPU where there is one, or cpu, cuda, cuda:1; `batch_size` is
    how many images go through the network together on a GPU. `dtype` is the type of the encoder and the decoder; in
    bfloat16 or float16 some tokens differ from those in float32, and so does the fingerprint. Raises ValueError when there is
    no such tokenizer, device or type, or the tokenizer is damaged.
    """
    return Tokenizer.from_pretrained(model, device, batch_size, dtype)
