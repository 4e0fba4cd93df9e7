"""The tokenizer: an encoder, a quantizer and a decoder."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from .decoders.base import PLAIN, ExtraDecoder, PlainDecoder
from .decoders.noise import seeded_noise
from .networks.base import ArchitectureConfig, Decoder, Encoder, Network, NoDecoder
from .networks.boundaries import from_networks, quantizer_layer, to_networks
from .quantizers import Quantizer, QuantizerConfig
from .shapes import Latent, Pixels, Tokens
from .wording import shown


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
        self.decoders = nn.ModuleDict()
        """Extra decoders by name. They are no part of model.safetensors, nor of what the tokens depend on."""
        self.broken_decoders: dict[str, str] = {}
        """Why those could not be loaded that are in the folder and not in `decoders`: a sentence for each name."""

    def encode_latent(self, pixels: Pixels) -> Latent:
        """Return the latent that the quantizer gets; raise ValueError when the pixels do not fit the grid."""
        self.architecture.check_pixels(pixels)
        return self.quantizer_in(self.encoder(to_networks(pixels, self.architecture.pixel_values).to(self.dtype)))

    def encode(self, pixels: Pixels) -> Tokens:
        """Return the tokens of pixels in [-1, 1]."""
        return self.quantizer(self.encode_latent(pixels)).tokens

    def decode_latent(self, quantized: Latent, decoder: str = PLAIN, seed: int = 0) -> Pixels:
        """Return the pixels of a quantized latent, not clamped: those of the plain decoder, or of an extra one.

        An extra one gets the same noise for every image of a size, that of `seed`. Raises ValueError when there is no such
        decoder, or when the networks take images of one size alone and the latent has not their grid.
        """
        if decoder != PLAIN:
            return self._decode_with(self.extra_decoder(decoder), quantized, seed)
        self.architecture.check_grid(quantized)
        values = self.decoder(self.quantizer_out(quantized.to(self.dtype)))
        return from_networks(values.float(), self.architecture.pixel_values)

    def _decode_with(self, decoder: ExtraDecoder, quantized: Latent, seed: int) -> Pixels:
        base = self.decode_latent(quantized)
        noise = seeded_noise(seed, decoder.noise_shape(*base.shape[2:]), base.device)
        return decoder(quantized, base, noise.expand(len(base), -1, -1, -1))

    def extra_decoder(self, name: str) -> ExtraDecoder:
        """Return an extra decoder; raise ValueError, with the names that there are, or why this one could not be loaded."""
        if name in self.decoders:
            return cast(ExtraDecoder, self.decoders[name])
        if name in self.broken_decoders:
            raise ValueError(self.broken_decoders[name])
        known = ", ".join([PLAIN, *self.decoders])
        raise ValueError(f"decoder is {shown(name)}, but this tokenizer has {known}: give one of these.")

    @property
    def plain(self) -> PlainDecoder:
        """The parts that the plain decoder's answer depends on."""
        return PlainDecoder(self.quantizer, self.quantizer_out, self.decoder)

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
        for network in (self.encoder, self.quantizer_in, self.quantizer_out, self.decoder, self.decoders):
            network.to(dtype)

    def hidden_matrices(self) -> set[str]:
        """Return the names of the networks' parameters that Muon takes."""
        networks: dict[str, Network] = {"encoder": self.encoder, "decoder": self.decoder}
        networks |= {f"decoders.{name}": self.extra_decoder(name) for name in self.decoders}
        return {f"{part}.{name}" for part, network in networks.items() for name in network.hidden_matrices()}


def build_tokenizer(architecture: ArchitectureConfig, quantizer: QuantizerConfig) -> VisualTokenizer:
    """Build a tokenizer with fresh weights; raise ValueError when latent and quantizer differ in channels."""
    built = quantizer.build()
    channels = architecture.latent_channels
    if not architecture.quantizer_convolutions and channels != built.dim:
        raise ValueError(
            f"latent_channels is {channels} but the quantizer takes {built.dim}: make them equal, or set "
            "quantizer_convolutions to true."
        )
    return VisualTokenizer(  # the order of the random draws: it decides the weights of a seed
        encoder=architecture.build_encoder(),
        quantizer_in=quantizer_layer(architecture, channels, built.dim),
        quantizer=built,
        quantizer_out=nn.Identity()
        if architecture.encoder_only
        else quantizer_layer(architecture, built.dim, channels),
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
