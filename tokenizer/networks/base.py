"""What every network family promises: an encoder, a decoder, and what training asks of them."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, final

from pydantic import Field, model_validator
from torch import nn

from ..config import Config
from ..shapes import Latent, Pixels

Channels = Annotated[int, Field(ge=1, le=1 << 15)]
"""Far above what networks have: a config may come from anywhere, and more would take hours to build."""


class Network(nn.Module, ABC):
    """What encoders and decoders have in common."""

    traced: ClassVar[str] = "forward"
    """Name of the method that training compiles. A decoder may name one that leaves out the last layer, whose gradient adaptive
    adversarial weights take without that of the others."""

    @abstractmethod
    def hidden_matrices(self) -> list[str]:
        """Return the names of the parameters that Muon takes: matrices and kernels between the first and the last layer."""

    @final
    def recomputable(self) -> list[nn.Module]:
        """Return the outermost modules with a true `is_block`: training can compute each again on its own."""
        return _outermost_blocks(self)


def _outermost_blocks(module: nn.Module) -> list[nn.Module]:
    found: list[nn.Module] = []
    for child in module.children():
        found += [child] if getattr(child, "is_block", False) else _outermost_blocks(child)
    return found


class Encoder(Network):
    """Map pixels to a latent."""

    @abstractmethod
    def forward(self, pixels: Pixels) -> Latent:
        """Return the latent of pixels whose height and width are multiples of the downsampling."""


class Decoder(Network):
    """Map a latent to pixels."""

    @abstractmethod
    def forward(self, latent: Latent) -> Pixels:
        """Return pixels, not clamped: training needs the gradient outside [-1, 1]."""

    @property
    @abstractmethod
    def last_layer(self) -> nn.Parameter:
        """Weight of the layer that makes the pixels, which adaptive adversarial weights are measured at."""


class NoDecoder(Decoder):
    """Takes the place of a decoder that a checkpoint does not have."""

    def forward(self, _: Latent) -> Pixels:
        raise ValueError(
            "This tokenizer has no decoder, because its checkpoint has none: import the checkpoint with the decoder."
        )

    def hidden_matrices(self) -> list[str]:
        return []

    @property
    def last_layer(self) -> nn.Parameter:
        raise ValueError("This tokenizer has no decoder to train: import the checkpoint with the decoder.")


class ArchitectureConfig(Config, ABC):
    """Shape of an encoder and a decoder.

    The two are built one by one: the layers around the quantizer are drawn in between, so that a seed keeps its weights.
    The fingerprint of a tokenizer covers all fields but one named `decoder`, which may hold what concerns the decoder alone.
    """

    name: str
    """Family of the networks."""
    latent_channels: Channels
    """Channels of the encoder's latent."""
    quantizer_convolutions: bool = True
    """Whether convolutions lead into the quantizer and out of it; without them latent_channels is its dim."""
    quantizer_kernel: Literal[1, 3] = 1
    """Side of the kernels of those convolutions."""
    pixel_values: tuple[float, float] = (-1.0, 1.0)
    """Black and white as the networks see them: -1 and 1, or 0 and 1. Pixels outside the networks are always in [-1, 1]."""
    encoder_only: bool = False
    """Whether there is no decoder, as in some published checkpoints."""
    image_size: Annotated[int, Field(ge=1, le=1 << 15)] | None = None
    """Side of the square images that the networks take, or null for any sides that are multiples of the downsampling."""

    @model_validator(mode="after")
    def _black_differs_from_white(self) -> "ArchitectureConfig":
        if self.pixel_values[0] == self.pixel_values[1]:
            raise ValueError(f"pixel_values has {self.pixel_values[0]} twice: give the values of black and of white.")
        return self

    @property
    @abstractmethod
    def downsample(self) -> int:
        """Pixels along one side of a position of the latent, or of a patch where the latent is not a grid of the image."""

    @abstractmethod
    def latent_grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the grid `y x` of the latent of an image that the networks take."""

    @abstractmethod
    def build_encoder(self) -> Encoder:
        """Build the encoder with fresh weights."""

    @abstractmethod
    def build_decoder(self) -> Decoder:
        """Build the decoder with fresh weights."""

    @final
    def check_pixels(self, pixels: Pixels) -> None:
        """Raise ValueError unless the networks take pixels of this shape."""
        side, size = self.downsample, self.image_size
        fits = pixels.ndim == 4 and pixels.shape[1] == 3 and not (pixels.shape[2] % side or pixels.shape[3] % side)
        if size is not None:
            fits = fits and tuple(pixels.shape[2:]) == (size, size)
        if not fits:
            taken = f"b 3 h w with h and w multiples of {side}" if size is None else f"b 3 {size} {size} alone"
            raise ValueError(
                f"The tokenizer got pixels of shape {tuple(pixels.shape)}, but takes {taken}: resize, crop or pad them."
            )

    @final
    def check_grid(self, latent: Latent) -> None:
        """Raise ValueError unless the decoder takes a latent with this grid."""
        size = self.image_size
        if size is None or (grid := self.latent_grid(size, size)) == tuple(latent.shape[2:]):
            return
        got, taken = (" x ".join(map(str, each)) for each in (latent.shape[2:], grid))
        raise ValueError(
            f"The decoder got a grid of {got} codes, but takes {taken} alone: give all tokens of an image."
        )

    @final
    def require_image_size(self, name: str, size: object) -> None:
        """Raise ValueError, calling it `name`, unless images of `size` have the only size that the networks take, if any."""
        if self.image_size is not None and size != self.image_size:
            side = self.image_size
            raise ValueError(
                f"{name} is {size}, but the networks take images of {side} x {side} pixels alone: make it {side}."
            )

    @final
    def require_side(self, name: str, size: object) -> None:
        """Raise ValueError, calling it `name`, if `size` is the side of squares that the networks cannot take."""
        self.require_image_size(name, size)
        if isinstance(size, int) and size % self.downsample:
            near = max(1, round(size / self.downsample)) * self.downsample
            raise ValueError(
                f"{name} is {size}, but must be a multiple of the downsampling, {self.downsample}: try {near}."
            )

    @final
    @property
    def latent_is_grid(self) -> bool:
        """Whether each position of the latent stands for a square of the image, `downsample` pixels to a side."""
        size = self.image_size
        return size is None or self.latent_grid(size, size) == (size // self.downsample, size // self.downsample)

    @final
    @property
    def coverage(self) -> str:
        """How many pixels the positions of the latent stand for, as a phrase."""
        if self.image_size is None:
            return f"one token for {self.downsample} x {self.downsample} pixels"
        y, x = self.latent_grid(self.image_size, self.image_size)
        return f"{y} x {x} tokens for {self.image_size} x {self.image_size} pixels"
