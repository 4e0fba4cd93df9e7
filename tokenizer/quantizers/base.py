"""What every quantizer promises."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from ..config import Config
from ..shapes import Latent, Tokens


class Quantized(NamedTuple):
    """What a quantizer makes of a latent."""

    latent: Latent
    """`b d y x`: exactly `lookup(tokens)`; its gradient reaches the encoder through the gradient estimator."""
    tokens: Tokens
    """`b q y x`, int64."""
    losses: dict[str, Tensor]
    """Named, unweighted scalars in float32; empty outside training mode, and for a quantizer without such losses."""


class Part(NamedTuple):
    """One codebook of a quantizer, and what it gets of a latent."""

    quantizer: "Quantizer"
    latent: Latent
    """`b d y x`: a group of channels, a residual, or all of it."""


class Quantizer(nn.Module, ABC):
    """Map a latent to the nearest of a finite set of codes, and code numbers back to codes.

    The law that one test holds every quantizer to: outside training, `lookup(quantizer(z).tokens)` equals
    `quantizer(z).latent`, bit for bit; in training too, but for the noise and dropout that a config asks for.
    """

    config: Config
    """What it was built from."""
    dim: int
    """Latent channels."""
    vocab_size: int
    """Codes of each codebook: tokens lie in [0, vocab_size)."""
    num_codebooks: int
    """Tokens a position, the `q` of `b q y x`."""

    @abstractmethod
    def forward(self, latent: Latent) -> Quantized:
        """Quantize in float32 whatever the autocast; raise ValueError when `latent` does not have `dim` channels."""

    @abstractmethod
    def lookup(self, tokens: Tokens) -> Latent:
        """Return the codes of `tokens`; raise ValueError when one is out of range or `q` is not num_codebooks."""

    @abstractmethod
    def project(self, latent: Latent) -> Latent:
        """Return the point that `latent` is compared as (normalised or bounded), so that distortion can be measured."""

    @abstractmethod
    def parts(self, latent: Latent) -> list[Part]:
        """Return the codebooks in the order of the axis `q`, each with the latent that it sees."""

    @abstractmethod
    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        """Return the grid of the tokens of a latent whose grid is `y x`."""

    @abstractmethod
    def folded(self) -> "tuple[Config, Quantizer]":
        """Return the config and the quantizer to export: the same tokens and codes, nothing that only training needs."""


def check_latent(latent: Tensor, dim: int) -> None:
    """Raise ValueError unless `latent` is `b d y x` with `dim` channels."""
    if latent.ndim != 4 or latent.shape[1] != dim:
        raise ValueError(
            f"The quantizer got a latent of shape {tuple(latent.shape)}, but takes b d y x with d = {dim}: "
            "change the latent or the quantizer's dim."
        )


def check_tokens(tokens: Tensor, num_codebooks: int, vocab_size: int) -> None:
    """Raise ValueError unless `tokens` is integer `b q y x` in range; this reads the values, so it waits for the device."""
    if tokens.ndim != 4 or tokens.shape[1] != num_codebooks:
        raise ValueError(
            f"The quantizer got tokens of shape {tuple(tokens.shape)}, but takes b q y x with q = {num_codebooks}."
        )
    if tokens.is_floating_point():
        raise ValueError(f"The quantizer got tokens of type {tokens.dtype}, but takes integers: use tokens.long().")
    if tokens.numel() and not (0 <= int(tokens.min()) and int(tokens.max()) < vocab_size):
        raise ValueError(
            f"The quantizer got tokens from {int(tokens.min())} to {int(tokens.max())}, but its codes are 0 to "
            f"{vocab_size - 1}: these tokens come from another tokenizer or carry an offset."
        )
