"""`vistok.load`, and the tokenizer that it returns."""

import copy
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..images.sizes import network_size
from ..pretrained.find import DEFAULT_MODEL, with_hub_prefix
from ..tokenizer.decoders.base import PLAIN
from ..tokenizer.devices import find_device
from ..tokenizer.exact_model import placed, start_decoding
from ..tokenizer.folder.config_json import TokenizerConfig
from ..tokenizer.folder.fingerprint import FingerprintCache
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.float32 import own_numerics
from ..tokenizer.numerics.transfer import Finish, in_flight
from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.quantizers.layout import check_tokens
from ..tokenizer.shapes import Images, Pixels, Tokens
from .arithmetic import (
    check_decoded,
    encode_images,
    images_at_once,
    start_exactly,
    start_images,
)
from .decoders import DecoderInfo, chosen_decoder, decoder_infos
from .encode_inputs import ImageLike, check_pixels, integer_tokens, preprocessed
from .folders import load_named, save, upload


class Tokenizer:
    """Images to tokens and back, with the preprocessing that the model was trained with.

    An ordinary object: it pickles, deep-copies, and works in other processes and in several threads at once. It
    calculates in float32 and ignores the caller's autocast, default dtype and precision settings. The tokens of an image
    never depend on the images around it. On a GPU, images go through the network in batches of `batch_size` (by default
    16 of 256 x 256 pixels, or fewer larger ones), the last one padded. On a CPU each core takes one image at a time, on
    `torch.get_num_threads()` cores.
    """

    def __init__(
        self, model: VisualTokenizer, config: TokenizerConfig, device: torch.device, batch_size: int | None = None
    ):
        is_whole = isinstance(batch_size, int) and not isinstance(batch_size, bool)
        if batch_size is not None and not (is_whole and batch_size >= 1):
            raise ValueError(
                f"batch_size is {batch_size!r}, but must be a whole number of at least 1, or None for the default."
            )
        self.model = placed(model, device)
        self.config = config
        self.batch_size = batch_size
        self._fingerprints = FingerprintCache()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        device: str | torch.device = "auto",
        batch_size: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "Tokenizer":
        """Load a tokenizer: see `vistok.load`. Here owner/repo that is no path is one of the hub, without hf:// too."""
        found = find_device(device)
        return cls(*load_named(with_hub_prefix(str(model)), dtype), found, batch_size)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a tokenizer folder that gives the same tokens, images and fingerprint, with all its decoders.

        A tokenizer that is there stays whole until the new one is. Decoders that are there and not in this tokenizer are kept,
        as is a README.md that was changed by hand. Raises WorkFailedError when the disk refuses. Raises ValueError for a
        tokenizer in half precision, whose weights are rounded; for one with a decoder that could not be loaded; where
        `folder` is a file, has decoders that do not fit, or holds a file of the same name that is not of a tokenizer.
        """
        if not str(folder).strip():
            raise ValueError("save_pretrained got an empty name: give a folder.")
        if isinstance(folder, Path) and folder == Path():
            raise ValueError(
                'save_pretrained got Path(""), which Python takes for the working directory: give a folder, or "." as text.'
            )
        save(Path(folder), self.model, self.config)

    def push_to_hub(self, repo: str, private: bool = False) -> str:
        """Upload the tokenizer folder to OWNER/REPO on the Hugging Face hub, and return the URL of the commit.

        The repository is created if it does not exist; extra decoders in it that this tokenizer has not are removed. Raises
        ValueError when the hub refuses, and for a tokenizer that `save_pretrained` refuses.
        """
        return upload(self.model, self.config, repo, private)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def fingerprint(self) -> str:
        """SHA-256 of encoder, quantizer and preprocessing: equal fingerprints give interchangeable tokens.

        It is recomputed after the weights change, except when they change through `.data`, which torch does not track.
        """
        return self._fingerprints.of(self.model, self.config)

    def to(self, device: str | torch.device) -> "Tokenizer":
        """Move the model in place, as `torch.nn.Module.to` does, and return this tokenizer.

        Tokenizers that share the model (`with_preprocessing`) move with it. Raises ValueError for an unusable device.
        """
        placed(self.model, find_device(device))
        return self

    def encode_pixels(self, pixels: Pixels) -> Tokens:
        """Return the tokens `b q y x`, int64 on the CPU, of float pixels `b c h w` in [-1, 1] on any device.

        Raises ValueError for another type or shape, or when a side is not a multiple of `downsample`.
        """
        check_pixels(pixels)
        return self.start_encoding(pixels.float())()

    def start_encoding(self, images: Images) -> Finish[Tokens]:
        """Begin to encode images of one size, uint8 `b h w c` or float32 pixels; call the result for the tokens, on the CPU.

        A GPU works on while the host prepares the next images. Thread-safe.
        """
        return start_exactly(self.model, self.device, self.batch_size, images)

    def start_decoding(self, tokens: Tokens, decoder: str = PLAIN, seed: int = 0) -> Finish[Images]:
        """Begin to decode int64 tokens `b q y x` of the vocabulary; call the result for images, uint8 `b h w c` on the CPU.

        A GPU works on while the host prepares the next tokens. Thread-safe.
        """
        chosen = chosen_decoder(self.model, decoder, seed)
        return start_images(self.model, self.device, self.batch_size, tokens, chosen)

    @property
    def vocab_size(self) -> int:
        """Number of codes in each codebook: tokens lie in [0, vocab_size)."""
        return self.model.quantizer.vocab_size

    @property
    def num_codebooks(self) -> int:
        """Number of tokens per position, the `q` of `b q y x`."""
        return self.model.quantizer.num_codebooks

    @property
    def downsample(self) -> int:
        """Number of pixels along each side of a token."""
        return self.model.downsample

    @property
    def decoders(self) -> dict[str, DecoderInfo]:
        """The decoders by name, "plain" first, with what was measured of them; damaged ones say why they cannot be used."""
        return decoder_infos(self.model)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the size `(y, x)` of the token grid of an image file, PIL image or array of `height` x `width` pixels.

        With a fixed size, all images have the same grid. With `size="native"` or an area, each token covers `downsample` x
        `downsample` pixels of the preprocessed image. Tensors are never resized or padded, so theirs is that of their own
        sides. Raises ValueError unless both sides are at least 1.
        """
        if height < 1 or width < 1:
            raise ValueError(
                f"grid got {height} x {width} pixels, but an image has at least 1 x 1: give its height and width."
            )
        sides = network_size(self.config.preprocessing, height, width, self.downsample)
        padded = (-(-side // self.downsample) * self.downsample for side in sides)
        return self.model.quantizer.token_grid(*self.config.architecture.latent_grid(*padded))

    def with_preprocessing(self, preprocessing: PreprocessingConfig) -> "Tokenizer":
        """Return a tokenizer that shares this model, with other preprocessing and so another fingerprint.

        Raises ValueError when the networks take images of another size alone.
        """
        self.config.architecture.require_image_size("preprocessing.size", preprocessing.size)
        other = copy.copy(self)
        other.config = self.config.model_copy(update={"preprocessing": preprocessing})
        return other

    def encode(self, images: ImageLike | list[ImageLike]) -> Tokens:
        """Return the tokens `b q y x`, int64 on `device`, of one image or a list of them.

        Paths, PIL images and uint8 arrays `h w c` are resized and cropped by `config.preprocessing`. Tensors `c h w` or
        `b c h w`, uint8 or float in [0, 1], are not: their sides must be multiples of `downsample`. Raises ValueError
        when an image cannot be read or used, or when the grids of the images differ.
        """
        listed = preprocessed(images, self.config.preprocessing, self.downsample)
        return encode_images(listed, self.start_encoding, self.device, self.batch_size)

    @overload
    def decode(
        self, tokens: Tensor | np.ndarray, output: Literal["pil"] = "pil", decoder: str = PLAIN, seed: int = 0
    ) -> list[Image.Image]: ...

    @overload
    def decode(
        self, tokens: Tensor | np.ndarray, output: Literal["tensor"], decoder: str = PLAIN, seed: int = 0
    ) -> Tensor: ...

    def decode(
        self,
        tokens: Tensor | np.ndarray,
        output: Literal["pil", "tensor"] = "pil",
        decoder: str = PLAIN,
        seed: int = 0,
    ) -> list[Image.Image] | Tensor:
        """Return the images of integer tokens `b q y x`: PIL images, or a float tensor `b c h w` in [0, 1] on `device`.

        `decoder` is one of `decoders`. An extra one paints what the tokens left out, from noise that `seed` decides, the same
        for all images of a size: an image depends on its tokens and the seed alone. The plain one has no use for a seed.

        Raises ValueError when the tokens have another shape or lie outside the vocabulary, and when there is no such decoder,
        it could not be loaded, or the seed is no whole number from 0 to 2**63 - 1.
        """
        chosen = chosen_decoder(self.model, decoder, seed)
        if output not in ("pil", "tensor"):
            raise ValueError(f"decode got output={output!r}, but takes 'pil' or 'tensor'.")
        checked = check_tokens(integer_tokens(tokens), self.num_codebooks, self.vocab_size)
        sides = (side * self.downsample for side in checked.shape[2:])
        parts = checked.split(images_at_once(self.device, self.batch_size, *sides))
        if output == "pil":
            decoded = in_flight(self.start_decoding(part, *chosen) for part in parts)
            return [Image.fromarray(image) for images in decoded for image in images.numpy()]
        with own_numerics(self.device):
            begun = (start_decoding(self.model, self.device, self.batch_size, part, *chosen) for part in parts)
            pixels, are_finite = zip(*begun, strict=True)
            check_decoded(torch.stack(are_finite).all())
            return (torch.cat(pixels) + 1) / 2

    def __repr__(self) -> str:
        size = self.config.architecture.image_size
        resolution = f"f{self.downsample}" if size is None else "{} x {} tokens".format(*self.grid(size, size))
        return (
            f"Tokenizer({self.config.quantizer.name}, {self.num_codebooks} x {self.vocab_size} codes, "
            f"{resolution}, {self.fingerprint[:12]})"
        )


def load(
    model: str | Path = DEFAULT_MODEL,
    device: str | torch.device = "auto",
    batch_size: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tokenizer:
    """Load a tokenizer: a built-in name such as photo-f8, a tokenizer folder, a public name, or hf://owner/repo[@revision].

    Public names such as llamagen-vq16 (see `vistok.list_models`) are downloaded and imported the first time; only these and
    hf:// need the network. `device` is auto (a GPU if there is one), cpu, cuda, cuda:1 or mps; `batch_size` is how many images
    go through the network together on a GPU. `dtype` is the type of the networks; in bfloat16 or float16 some tokens differ
    from those in float32, and so does the fingerprint. Raises ValueError when there is no such tokenizer, device or type, or
    when the tokenizer's files are damaged, and WorkFailedError when the disk refuses a download.
    """
    found = find_device(device)
    return Tokenizer(*load_named(str(model), dtype), found, batch_size)
