"""A copy of the plain decoder that also gets noise, so that it can paint what a mean over possible images leaves out.

The noise enters as further channels of the decoder's input, whose weights start at zero, as in WeTok (arXiv 2508.05599).
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..networks.base import ArchitectureConfig, Decoder
from ..networks.blocks import zero_initialize
from ..networks.boundaries import from_networks, quantizer_layer
from ..networks.skeleton import without_values
from ..shapes import Latent, Pixels
from .base import DecoderConfig, ExtraDecoder, PlainDecoder


class NoiseChannelsConfig(DecoderConfig):
    """Shape of the decoder: that of the tokenizer's own, and the noise."""

    name: Literal["noise_channels"] = "noise_channels"
    """Kind of the decoder: noise_channels."""
    noise: Annotated[int, Field(ge=1, le=1 << 10)] = 8
    """Channels of noise at each position of the latent."""

    def build(self, architecture: ArchitectureConfig, code_channels: int) -> "NoiseChannels":
        return NoiseChannels(self, architecture, code_channels)


class NoiseChannels(ExtraDecoder):
    """Apply a decoder of the tokenizer's architecture to codes and noise; it does not look at the plain answer.

    Where a decoder with more latent channels differs from the plain one only in layers that take the latent, noise is joined
    to the latent. Other families do more with a latent than that: there, a 1 x 1 convolution of the noise is added to it.
    """

    def __init__(self, config: NoiseChannelsConfig, architecture: ArchitectureConfig, code_channels: int):
        super().__init__(config)
        if architecture.encoder_only:
            raise ValueError(
                "noise_channels copies the plain decoder, but this tokenizer has none: import the checkpoint with the decoder."
            )
        self._architecture = architecture
        self.quantizer_out = quantizer_layer(architecture, code_channels, architecture.latent_channels)
        wider = _wider(architecture, config.noise)
        self.decoder = (wider or architecture).build_decoder()
        self.noise_in = None if wider else nn.Conv2d(config.noise, architecture.latent_channels, 1, bias=False)
        if self.noise_in is not None:
            zero_initialize(self.noise_in)
        self.channels = config.noise

    def noise_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return self.channels, *self._architecture.latent_grid(height, width)

    def forward(self, codes: Latent, base: Pixels, noise: Tensor) -> Pixels:  # noqa: ARG002  # decoders share one
        latent = self.quantizer_out(codes.to(self.dtype))
        noise = noise.to(self.dtype)
        latent = torch.cat([latent, noise], dim=1) if self.noise_in is None else latent + self.noise_in(noise)
        return from_networks(self.decoder(latent).float(), self._architecture.pixel_values)

    def start_from(self, plain: PlainDecoder) -> None:
        self.quantizer_out.load_state_dict(plain.quantizer_out.state_dict())
        values = plain.decoder.state_dict()
        with torch.no_grad():
            for name, mine in self.decoder.state_dict().items():
                mine.zero_()
                mine[(slice(None), slice(values[name].shape[1])) if mine.ndim > 1 else ...].copy_(values[name])

    def hidden_matrices(self) -> list[str]:
        return [f"decoder.{name}" for name in self.decoder.hidden_matrices()]

    @property
    def last_layer(self) -> nn.Parameter:
        return self.decoder.last_layer


def _wider(architecture: ArchitectureConfig, noise: int) -> ArchitectureConfig | None:
    """Return an architecture whose decoder takes more latent channels and is the same otherwise, or None."""
    wider = architecture.model_copy(update={"latent_channels": architecture.latent_channels + noise})
    try:
        with without_values():
            first, second = (_shapes(each.build_decoder()) for each in (architecture, wider))
    except (ValueError, RuntimeError):  # the family has a rule for the number of channels
        return None
    return (
        wider
        if first.keys() == second.keys()
        and all(
            one == other or (len(one) > 1 and one[:1] + one[2:] == other[:1] + other[2:] and one[1] + noise == other[1])
            for one, other in ((first[name], second[name]) for name in first)
        )
        else None
    )


def _shapes(decoder: Decoder) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in decoder.state_dict().items()}
