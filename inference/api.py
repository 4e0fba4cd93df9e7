"""`vistok.load`, and the tokenizer that it returns."""

from pathlib import Path
from typing import Literal, overload

import torch
from PIL import Image
from torch import Tensor

from ..images.preprocessing import to_images
from ..pretrained import DEFAULT_MODEL, find_tokenizer
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.preprocessing import PreprocessingConfig
from ..tokenizer.shapes import Tokens
from ..tokenizer.weights import TokenizerConfig, fingerprint, load_tokenizer
from .forward import exact_encode
from .pictures import Picture, pictures_to_pixels


class Tokenizer:
    """Pictures to tokens and back, with the preprocessing the model was trained with."""

    def __init__(self, model: VisualTokenizer, config: TokenizerConfig, device: torch.device):
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.config = config
        self.device = device
        self.fingerprint = fingerprint(model, config)
        """SHA-256 of encoder, quantizer and preprocessing: equal fingerprints give interchangeable tokens."""
        self.encode_pixels = exact_encode(self.model, device)
        """From pixels `b c h w` in [-1, 1] to tokens `b q y x`, exactly."""

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
        """Return the token grid `(y, x)` that `encode` makes of a picture file or array of `height` x `width` pixels.

        With a fixed size of the preprocessing it is the same for all; natively a token covers `downsample` pixels, the last
        ones begun rather than left out. Tensors are taken as they are, and so have the grid of a native picture.
        """
        if self.config.preprocessing.size != "native":
            height = width = self.config.preprocessing.size
        return self.model.quantizer.token_grid(-(-height // self.downsample), -(-width // self.downsample))

    def with_preprocessing(self, preprocessing: PreprocessingConfig) -> "Tokenizer":
        """Return this tokenizer with other preprocessing, and so another fingerprint; the model is shared."""
        return Tokenizer(self.model, self.config.model_copy(update={"preprocessing": preprocessing}), self.device)

    def encode(self, images: Picture | list[Picture]) -> Tokens:
        """Return the tokens `b q y x` (int64, on the CPU) of one picture or a list of them, in float32.

        Paths, PIL images and uint8 arrays `h w c` are resized and cropped as `config.preprocessing` says; tensors
        `c h w` or `b c h w`, uint8 or float in [0, 1], are taken as they are. A picture's tokens do not depend on the
        others of the list. Raises ValueError when a picture cannot be used or the grids differ.
        """
        tokens = [
            self.encode_pixels(pixels)
            for pixels in pictures_to_pixels(images, self.config.preprocessing, self.downsample)
        ]
        grids = sorted({tuple(part.shape[2:]) for part in tokens})
        if len(grids) > 1:
            raise ValueError(
                f"The pictures have different token grids ({grids[0]} and {grids[1]}): encode them one at a time, or at "
                "one size."
            )
        return torch.cat(tokens)

    @overload
    def decode(self, tokens: Tensor, output: Literal["pil"] = "pil") -> list[Image.Image]: ...

    @overload
    def decode(self, tokens: Tensor, output: Literal["tensor"]) -> Tensor: ...

    @torch.no_grad()
    def decode(self, tokens: Tensor, output: Literal["pil", "tensor"] = "pil") -> list[Image.Image] | Tensor:
        """Return the pictures of tokens `b q y x`: PIL images, or a float tensor `b c h w` in [0, 1] on the CPU.

        Raises ValueError when the tokens have another shape or lie outside the vocabulary.
        """
        if output not in ("pil", "tensor"):
            raise ValueError(f"decode got output={output!r}, but takes 'pil' or 'tensor'.")
        if not isinstance(tokens, Tensor):
            raise ValueError(
                f"decode got a {type(tokens).__name__}, but takes a tensor b q y x: make it one with torch.from_numpy or "
                "torch.stack."
            )
        if tokens.ndim != 4 or not tokens.numel() or tokens.is_floating_point():
            raise ValueError(
                f"decode got a tensor of {tokens.dtype} {tuple(tokens.shape)}, but takes whole numbers b q y x, as encode "
                "gives them."
            )
        pixels = torch.cat([self.model.decode(part.to(self.device, torch.int64)).cpu() for part in tokens.split(1)])
        return to_images(pixels) if output == "pil" else (pixels + 1) / 2

    def __repr__(self) -> str:
        return (
            f"Tokenizer({self.config.quantizer.name}, {self.num_codebooks} x {self.vocab_size} codes, "
            f"f{self.downsample}, {self.fingerprint[:12]})"
        )


def load(model: str | Path = DEFAULT_MODEL, device: str | torch.device = "cpu") -> Tokenizer:
    """Load a tokenizer: a built-in name such as photo-f8, a tokenizer folder, or hf://owner/repo.

    Only the last needs the network. Raises ValueError when there is no such tokenizer or it is damaged.
    """
    if not str(model):
        raise ValueError("load got an empty name: give a built-in name, a tokenizer folder, or hf://owner/repo.")
    loaded = load_tokenizer(find_tokenizer(str(model)))
    return Tokenizer(loaded.model, loaded.config, _device(device))


def _device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).item()  # which the meta device, without values, refuses
    except (RuntimeError, AssertionError):
        usable = "cpu or cuda" if torch.cuda.is_available() else "cpu, there is no cuda"
        raise ValueError(f"Device {str(device)!r} cannot be used on this machine: use {usable}.") from None
    return found
