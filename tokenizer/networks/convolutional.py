"""The convolutional encoder and decoder of the VQGAN family.

With `channels=[128, 128, 256, 256, 512]`, `blocks=2` (3 in the decoder), `attention=[4]` and a 256-channel latent
this is the f16 network of taming-transformers' VQGAN (arXiv 2012.09841) and of LlamaGen's VQ-16 (arXiv 2406.06525).
"""

from typing import Literal

from pydantic import model_validator
from torch import Tensor, nn

from ..shapes import Latent, Pixels
from .adaptive_norm import adaptive_norms, latent_statistics
from .base import ArchitectureConfig, Channels, Decoder, Encoder
from .blocks import in_float32, kernels_except
from .levels import DecoderStackConfig, Level, StackConfig, build_levels, build_middle
from .norm_silu import silu_of_norm
from .norms import GROUPS, Norm

COLOURS = 3


class ConvolutionalConfig(ArchitectureConfig):
    """Shape of the convolutional autoencoder; its grid is stem * 2 ** (levels - 1) times smaller than the image.

    Levels that share a grid count as one.
    """

    name: Literal["convolutional"] = "convolutional"
    """Family of the networks: convolutional."""
    stem: Literal[1, 2, 4] = 1
    """Side of the pixel squares that are moved into the channels before the first convolution (space to depth)."""
    stem_channels: Channels | None = None
    """Channels of the encoder's first convolution, or none for those of its first level."""
    encoder: StackConfig
    """Levels of the encoder."""
    decoder: DecoderStackConfig
    """Levels of the decoder."""
    latent_channels: Channels = 256
    """Channels between the networks and the convolutions around the quantizer."""
    norm: Literal["group", "pixel"] = "group"
    """Normalisation: over groups of channels and the grid (group), or over the channels of a position (pixel)."""
    resampling: Literal["strided", "shuffle", "subpixel", "pooled"] = "strided"
    """Change of grid between levels: a strided convolution padded at the end, and nearest-neighbour upsampling (strided); pixel
    shuffle with 1 x 1 convolutions (shuffle); a strided convolution padded on all sides, and pixel shuffle with 3 x 3
    convolutions (subpixel); or average pooling, and nearest-neighbour upsampling (pooled)."""
    shortcut: Literal["input", "output"] = "input"
    """What a residual block adds to its output through a 1 x 1 convolution where the channels change: its input, or its own
    output, as MaskGIT does (arXiv 2202.04200)."""

    @model_validator(mode="after")
    def _sides_agree(self) -> "ConvolutionalConfig":
        if self.encoder.grids != self.decoder.grids:
            raise ValueError(
                f"encoder has {self.encoder.grids} levels of different grids but decoder has {self.decoder.grids}: give both "
                "the same number."
            )
        widths = [self.stem_channels or GROUPS, *self.encoder.channels, *self.decoder.channels]
        uneven = [width for width in widths if width % GROUPS]
        if self.norm == "group" and uneven:
            raise ValueError(
                f"channels has {uneven[0]}, but norm 'group' needs multiples of {GROUPS}: change one of them."
            )
        if self.decoder.adaptive_norm and self.norm != "group":
            raise ValueError(f"decoder.adaptive_norm is true, but norm is {self.norm!r}: set norm to 'group'.")
        return self

    @property
    def downsample(self) -> int:
        return self.stem * 2 ** (self.encoder.grids - 1)

    def latent_grid(self, height: int, width: int) -> tuple[int, int]:
        return height // self.downsample, width // self.downsample

    def build_encoder(self) -> "ConvolutionalEncoder":
        return ConvolutionalEncoder(self)

    def build_decoder(self) -> "ConvolutionalDecoder":
        return ConvolutionalDecoder(self)


class ConvolutionalEncoder(Encoder):
    """Levels of residual blocks, from the image's grid down to the latent's."""

    def __init__(self, config: ConvolutionalConfig):
        super().__init__()
        width = config.stem_channels or config.encoder.channels[0]
        self.unshuffle = nn.PixelUnshuffle(config.stem)
        self.conv_in = nn.Conv2d(COLOURS * config.stem**2, width, 3, padding=1)
        self.levels = _levels(config, is_decoder=False, in_channels=width)
        width = config.encoder.channels[-1]
        self.middle = build_middle(config.encoder, config.norm)
        self.norm_out = Norm(width, config.norm)
        self.conv_out = nn.Conv2d(width, config.latent_channels, 3, padding=1)

    def forward(self, pixels: Pixels) -> Latent:
        x = self.conv_in(self.unshuffle(pixels))
        x = self.middle(self.levels(x))
        return self.conv_out(silu_of_norm(self.norm_out, x))

    def hidden_matrices(self) -> list[str]:
        return kernels_except(self, "conv_in.weight", "conv_out.weight")


class ConvolutionalDecoder(Decoder):
    """Levels of residual blocks, from the latent's grid up to the image's."""

    traced = "features"

    def __init__(self, config: ConvolutionalConfig):
        super().__init__()
        width = config.decoder.channels[-1]
        self.conv_in = nn.Conv2d(config.latent_channels, width, 3, padding=1)
        self.middle = build_middle(config.decoder, config.norm)
        self.levels = _levels(config, is_decoder=True)
        self.adaptive_norms = nn.ModuleList()
        if config.decoder.adaptive_norm:
            self.adaptive_norms = adaptive_norms(self.levels, config.latent_channels)
        width = config.decoder.channels[0]
        self.norm_out = Norm(width, config.norm)
        self.conv_out = nn.Conv2d(width, COLOURS * config.stem**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(config.stem)

    def forward(self, latent: Latent) -> Pixels:
        return self.pixels(self.features(latent))

    def features(self, latent: Latent) -> Tensor:
        """Return what the last layer gets."""
        x = self._through_levels(self.middle(self.conv_in(latent)), latent)
        return silu_of_norm(self.norm_out, x)

    def pixels(self, features: Tensor) -> Pixels:
        """Apply the last layer."""
        return self.shuffle(in_float32(self.conv_out, features))

    def _through_levels(self, x: Tensor, latent: Latent) -> Tensor:
        if not self.adaptive_norms:
            return self.levels(x)
        statistics = latent_statistics(latent)
        norms = iter(self.adaptive_norms)
        for layer in self.levels:
            x = layer(next(norms)(x, statistics) if isinstance(layer, Level) else x)
        return x

    def hidden_matrices(self) -> list[str]:
        return kernels_except(self, "conv_in.weight", "conv_out.weight")

    @property
    def last_layer(self) -> nn.Parameter:
        return self.get_parameter("conv_out.weight")


def _levels(config: ConvolutionalConfig, is_decoder: bool, in_channels: int | None = None) -> nn.Sequential:
    stack = config.decoder if is_decoder else config.encoder
    return build_levels(stack, config.norm, config.resampling, is_decoder, config.shortcut == "output", in_channels)
