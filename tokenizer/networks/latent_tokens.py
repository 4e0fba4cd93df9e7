"""Transformers with latent tokens: an image becomes a short row of vectors instead of a grid (TiTok, arXiv 2406.07550).

The encoder sees patches and learned latent tokens, and keeps the latter. The decoder sees them beside a mask token for each
patch, and keeps the patches. Latents are `b d 1 n`, tokens `b q 1 n`.
"""

from typing import Annotated, Literal

import torch
from einops import rearrange, repeat
from pydantic import Field, model_validator
from torch import Tensor, nn

from ..config import Config
from ..shapes import Latent, Pixels
from .base import ArchitectureConfig, Decoder, Encoder
from .convolutional import COLOURS, ConvolutionalConfig
from .norms import LayerNorm
from .pixel_heads import PatchPixels, SoftCodePixels
from .transformer import TransformerConfig, build_blocks, initialize, matrices

Patch = Annotated[int, Field(ge=1, le=1024)]


class SoftCodesConfig(Config):
    """Codes of another tokenizer and its decoder, which makes the pixels."""

    codes: Annotated[int, Field(ge=2, le=1 << 20)]
    """Number of those codes."""
    network: ConvolutionalConfig
    """Networks of that tokenizer, whose decoder is built; its downsampling is the size of a patch."""


class LatentTokensDecoderConfig(Config):
    """Shape of the decoder."""

    transformer: TransformerConfig
    """Blocks that see latent tokens and mask tokens."""
    patch: Patch = 16
    """Pixels along one side of a patch."""
    soft_codes: SoftCodesConfig | None = None
    """Convolutional decoder that makes pixels from the mean of its codes, or null to make pixels directly."""


class LatentTokensConfig(ArchitectureConfig):
    """Shape of transformers with latent tokens, which take images of one size."""

    name: Literal["latent_tokens"] = "latent_tokens"
    """Family of the networks: latent_tokens."""
    image_size: Annotated[int, Field(ge=1, le=1 << 15)] = 256
    """Side of the square images that the networks take; each patch has a position of its own."""
    patch: Patch = 16
    """Pixels along one side of a patch of the encoder."""
    latent_tokens: Annotated[int, Field(ge=1, le=1 << 15)]
    """Length of the latent, and so tokens per image and codebook."""
    encoder: TransformerConfig
    """Blocks of the encoder."""
    decoder: LatentTokensDecoderConfig
    """Blocks of the decoder, and how they make pixels."""
    mixes_latents: bool = False
    """Whether the table of latent tokens by channels is read as channels by tokens before the last layer of the encoder, which
    mixes both: the weights of TiTok's first models depend on it."""

    @model_validator(mode="after")
    def _patches_fit(self) -> "LatentTokensConfig":
        for name, patch in (("patch", self.patch), ("decoder.patch", self.decoder.patch)):
            if self.image_size % patch:
                raise ValueError(
                    f"image_size is {self.image_size}, but must be a multiple of {name}, {patch}: change one of them."
                )
        codes = self.decoder.soft_codes
        if codes and codes.network.downsample != self.decoder.patch:
            raise ValueError(
                f"decoder.soft_codes.network has the downsampling {codes.network.downsample}, but decoder.patch is "
                f"{self.decoder.patch}: make them equal."
            )
        return self

    @property
    def downsample(self) -> int:
        return self.patch

    def latent_grid(self, _height: int, _width: int) -> tuple[int, int]:
        return 1, self.latent_tokens

    def build_encoder(self) -> "LatentTokensEncoder":
        return LatentTokensEncoder(self)

    def build_decoder(self) -> "LatentTokensDecoder":
        return LatentTokensDecoder(self)


class LatentTokensEncoder(Encoder):
    """Blocks over a class token, the patches and the latent tokens, of which the last are kept."""

    def __init__(self, config: LatentTokensConfig):
        super().__init__()
        width = config.encoder.width
        self.patches = nn.Conv2d(COLOURS, width, config.patch, stride=config.patch)
        self.class_token = _vectors(1, width)
        self.positions = _vectors((config.image_size // config.patch) ** 2, width)
        self.latent_tokens = _vectors(config.latent_tokens, width)
        self.norm_in = LayerNorm(width, eps=config.encoder.epsilon)
        self.blocks = build_blocks(config.encoder)
        self.norm_out = LayerNorm(width, eps=config.encoder.epsilon)
        self.to_latent = nn.Linear(width, config.latent_channels)
        self.to_latent.apply(initialize)
        self.mixes_latents = config.mixes_latents

    def forward(self, pixels: Pixels) -> Latent:
        patches = rearrange(self.patches(pixels), "b d y x -> b (y x) d") + self.positions
        x = torch.cat([_each(self.class_token, patches), patches, _each(self.latent_tokens, patches)], dim=1)
        x = self.blocks(self.norm_in(x))
        latent = self.norm_out(x[:, -len(self.latent_tokens) :])
        if self.mixes_latents:
            latent = latent.reshape(latent.shape[0], latent.shape[2], latent.shape[1]).transpose(1, 2)
        return rearrange(self.to_latent(latent), "b n d -> b d 1 n")

    def hidden_matrices(self) -> list[str]:
        return matrices(self.blocks, "blocks")


class LatentTokensDecoder(Decoder):
    """Blocks over a class token, a mask token for each patch and the latent tokens, of which the patches are kept."""

    traced = "features"

    def __init__(self, config: LatentTokensConfig):
        super().__init__()
        stack, side = config.decoder.transformer, config.image_size // config.decoder.patch
        self.from_latent = nn.Linear(config.latent_channels, stack.width)
        self.from_latent.apply(initialize)
        self.class_token = _vectors(1, stack.width)
        self.mask_tokens = _vectors(side**2, stack.width)
        self.latent_positions = _vectors(config.latent_tokens, stack.width)
        self.norm_in = LayerNorm(stack.width, eps=stack.epsilon)
        self.blocks = build_blocks(stack)
        self.norm_out = LayerNorm(stack.width, eps=stack.epsilon)
        codes = config.decoder.soft_codes
        self.pixels: PatchPixels | SoftCodePixels = (
            SoftCodePixels(stack.width, codes.codes, codes.network)
            if codes
            else PatchPixels(stack.width, config.decoder.patch)
        )
        self.side = side

    def forward(self, latent: Latent) -> Pixels:
        return self.pixels(self.features(latent))

    def features(self, latent: Latent) -> Tensor:
        """Return what the last layer gets."""
        latents = self.from_latent(rearrange(latent, "b d 1 n -> b n d")) + self.latent_positions
        x = torch.cat([_each(self.class_token, latents), _each(self.mask_tokens, latents), latents], dim=1)
        x = self.blocks(self.norm_in(x))
        patches = self.norm_out(x[:, 1 : 1 + self.side**2])
        return self.pixels.features(rearrange(patches, "b (y x) d -> b d y x", y=self.side))

    def hidden_matrices(self) -> list[str]:
        return [*matrices(self.blocks, "blocks"), *(f"pixels.{name}" for name in self.pixels.hidden_matrices())]

    @property
    def last_layer(self) -> nn.Parameter:
        return self.pixels.last_layer


def _vectors(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(count, width) * width**-0.5)


def _each(vectors: Tensor, like: Tensor) -> Tensor:
    """Return vectors `n d` for each row of a batch, in its type."""
    return repeat(vectors.to(like.dtype), "n d -> b n d", b=like.shape[0])
