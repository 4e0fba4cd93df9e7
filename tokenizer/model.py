"""The tokenizer: an encoder, a quantizer and a decoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .networks.base import ArchitectureConfig, Decoder, Encoder, NoDecoder
from .quantizers import Quantizer, QuantizerConfig
from .shapes import Latent, Pixels, Tokens

SYMMETRIC = (-1.0, 1.0)


class Reconstruction(NamedTuple):
    """The results of one pass through the whole tokenizer."""

    pixels: Pixels
    """The decoder's output, not clamped."""
    latent: Latent
    """The input of the quantizer."""
    quantized: Latent
    """The output of the quantizer."""
    tokens: Tokens
    losses: dict[str, Tensor]
    """The quantizer's named, unweighted losses."""


class VisualTokenizer(nn.Module):
    """Pixels to latent to tokens, and back.

    h and w of the pixels must be multiples of `downsample`, or the architecture's `image_size`. Pixels come and go in [-1, 1];
    inside the networks, black and white have the `pixel_values` of the architecture.
    """

    def __init__(
        self,
        encoder: Encoder,
        quantizer_in: nn.Module,
        quantizer: Quantizer,
        quantizer_out: nn.Module,
        decoder: Decoder,
        architecture: ArchitectureConfig,
    ):
        super().__init__()
        self.encoder = encoder
        self.quantizer_in = quantizer_in
        self.quantizer = quantizer
        self.quantizer_out = quantizer_out
        self.decoder = decoder
        self.architecture = architecture
        """What the networks were built from."""

    def encode_latent(self, pixels: Pixels) -> Latent:
        """Return the latent that the quantizer gets; raise ValueError when the pixels do not fit the grid."""
        self.architecture.check_pixels(pixels)
        return self.quantizer_in(self.encoder(self._to_networks(pixels).to(self.dtype)))

    def encode(self, pixels: Pixels) -> Tokens:
        """Return the tokens of pixels in [-1, 1]."""
        return self.quantizer(self.encode_latent(pixels)).tokens

    def decode_latent(self, quantized: Latent) -> Pixels:
        """Return the pixels of a quantized latent, not clamped.

        Raises ValueError when the networks take images of one size alone and the latent has not their grid.
        """
        self.architecture.check_grid(quantized)
        return self._from_networks(self.decoder(self.quantizer_out(quantized.to(self.dtype))).float())

    def decode(self, tokens: Tokens) -> Pixels:
        """Return pixels in [-1, 1]; raise ValueError when the tokens are out of range or have another shape."""
        return self.decode_latent(self.quantizer.lookup(tokens)).clamp(-1, 1)

    def forward(self, pixels: Pixels, hardness: float = 1.0) -> Reconstruction:
        """Reconstruct pixels; with `hardness` below 1, as early in training, the decoder gets softened codes."""
        latent = self.encode_latent(pixels)
        quantized, tokens, losses = self.quantizer(latent)
        decoder_input = softened(self.quantizer, latent, quantized, hardness)
        return Reconstruction(self.decode_latent(decoder_input), latent, quantized, tokens, losses)

    @property
    def has_decoder(self) -> bool:
        """Whether tokens can become pixels; some published checkpoints have an encoder alone."""
        return not isinstance(self.decoder, NoDecoder)

    @property
    def downsample(self) -> int:
        """Pixels along one side of a position of the latent, or of a patch where the latent is not a grid of the image."""
        return self.architecture.downsample

    @property
    def dtype(self) -> torch.dtype:
        """Type of the networks' weights; the quantizer computes in float32 whatever it is."""
        return next(self.parameters()).dtype

    def cast_networks(self, dtype: torch.dtype) -> None:
        """Convert the weights of the networks in place; those of the quantizer stay float32."""
        for network in (self.encoder, self.quantizer_in, self.quantizer_out, self.decoder):
            network.to(dtype)

    def hidden_matrices(self) -> set[str]:
        """Return the names of the encoder's and the decoder's parameters that Muon takes."""
        encoder, decoder = self.encoder.hidden_matrices(), self.decoder.hidden_matrices()
        return {f"encoder.{name}" for name in encoder} | {f"decoder.{name}" for name in decoder}

    def _to_networks(self, pixels: Pixels) -> Tensor:
        black, white = self.architecture.pixel_values
        if (black, white) == SYMMETRIC:
            return pixels
        return black + (pixels + 1) * ((white - black) / 2)

    def _from_networks(self, values: Tensor) -> Pixels:
        black, white = self.architecture.pixel_values
        if (black, white) == SYMMETRIC:
            return values
        return (values - black) * (2 / (white - black)) - 1


def build_tokenizer(architecture: ArchitectureConfig, quantizer: QuantizerConfig) -> VisualTokenizer:
    """Build a tokenizer with fresh weights; raise ValueError when latent and quantizer differ in channels."""
    built = quantizer.build()
    channels, convolve = architecture.latent_channels, architecture.quantizer_convolutions
    if not convolve and channels != built.dim:
        raise ValueError(
            f"latent_channels is {channels} but the quantizer takes {built.dim}: make them equal, or set "
            "quantizer_convolutions to true."
        )
    kernel = architecture.quantizer_kernel
    convolve_out = convolve and not architecture.encoder_only
    return VisualTokenizer(  # the order of the random draws: it decides the weights of a seed
        encoder=architecture.build_encoder(),
        quantizer_in=nn.Conv2d(channels, built.dim, kernel, padding=kernel // 2) if convolve else nn.Identity(),
        quantizer=built,
        quantizer_out=nn.Conv2d(built.dim, channels, kernel, padding=kernel // 2) if convolve_out else nn.Identity(),
        decoder=NoDecoder() if architecture.encoder_only else architecture.build_decoder(),
        architecture=architecture,
    )


def hardness_at(step: int, harden_steps: int) -> float:
    """Return the weight of the code at a training step (from 1): 0 at the first, exactly 1 after `harden_steps` steps."""
    return 1.0 if step > harden_steps else (step - 1) / harden_steps


def softened(quantizer: Quantizer, latent: Latent, quantized: Latent, hardness: float) -> Latent:
    """Return (1 - a) z + a q: z the latent as `quantizer` compares it, q its code, a = `hardness` in [0, 1].

    So is the gradient: (1 - a) times that of z itself, plus a times that of the estimator. With a = 1 the result is q, bit
    for bit.
    """
    return quantized if hardness == 1 else quantizer.to_code_space(latent).lerp(quantized, hardness)
