"""What every quantizer promises."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from ..config import Config
from ..shapes import Latent, Tokens, Vectors


class Quantized(NamedTuple):
    """What a quantizer makes of a latent."""

    latent: Latent
    """`b d y x`, float32: `lookup(tokens)`; its gradient reaches the encoder through the gradient estimator."""
    tokens: Tokens
    """`b q y x`, int64, in [0, vocab_size) whatever the latent."""
    losses: dict[str, Tensor]
    """Named, unweighted scalars in float32, 0 for an empty batch; none outside training mode."""


class Part(NamedTuple):
    """One codebook of a quantizer, and what it gets of a latent."""

    quantizer: "Quantizer"
    latent: Latent
    """`b d y x`: a group of channels, a residual, or all of it."""


class Quantizer(nn.Module, ABC):
    """Map a latent to the nearest of a finite set of codes, and code numbers back to codes.

    The law that one test holds every quantizer to: outside training mode, `lookup(quantizer(z).tokens)` equals
    `quantizer(z).latent`, bit for bit. In training mode too, but for the noise and the dropout that a config asks for, and
    with the codes that the forward began with: moving averages move at its end. Everything is float32 inside, whatever the
    autocast and the type of the weights.
    """

    config: Config
    """What it was built from."""
    returns_codes: bool = True
    """Whether training forwards return the codes, not noise around them or some levels alone."""
    dim: int
    """Latent channels."""
    vocab_size: int
    """Codes of each codebook: tokens lie in [0, vocab_size)."""
    num_codebooks: int
    """Tokens a position, the `q` of `b q y x`."""
    training_step: int = 0
    """Optimizer steps taken so far, which schedules inside a quantizer follow; `set_training_step` sets it. It is not part
    of the state: a run that goes on sets it again."""

    @abstractmethod
    def forward(self, latent: Latent) -> Quantized:
        """Quantize; raise ValueError when `latent` does not have `dim` channels."""

    @abstractmethod
    def codes_of(self, tokens: Tokens) -> Latent:
        """Return the codes of tokens that are known to be right; the device is not waited for."""

    @abstractmethod
    def to_code_space(self, latent: Latent) -> Latent:
        """Return the point that `latent` is compared as (normalised or bounded), so that distortion can be measured."""

    @abstractmethod
    def parts(self, latent: Latent) -> list[Part]:
        """Return the codebooks in the order of the axis `q`, each with the latent that it sees."""

    @abstractmethod
    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        """Return the grid of the tokens of a latent whose grid is `y x`."""

    @abstractmethod
    def for_inference(self) -> "tuple[Config, Quantizer]":
        """Return the config and the quantizer to export: the same tokens and codes, nothing that only training needs.

        It is a copy, on the same device, in eval mode.
        """

    def lookup(self, tokens: Tensor) -> Latent:
        """Return the codes of tokens of any integer type; raise ValueError when one is out of range or `q` is not right."""
        return self.codes_of(check_tokens(tokens, self.num_codebooks, self.vocab_size))


def set_training_step(module: nn.Module, step: int) -> None:
    """Tell every quantizer inside `module` that `step` optimizer steps have been taken, in place.

    Call it before the forwards of a step: once, however many micro-batches the step has. Raises ValueError below 0.
    """
    if step < 0:
        raise ValueError(f"The training step is {step}, but steps taken are 0 or more: give the number taken so far.")
    for inner in module.modules():
        if isinstance(inner, Quantizer):
            inner.training_step = step


def check_latent(latent: Tensor, dim: int) -> None:
    """Raise ValueError unless `latent` is `b d y x` with `dim` channels."""
    if latent.ndim != 4 or latent.shape[1] != dim:
        raise ValueError(
            f"The quantizer got a latent of shape {tuple(latent.shape)}, but takes b d y x with d = {dim}: "
            "change the latent or the quantizer's dim."
        )


def as_rows(latent: Latent) -> Vectors:
    """Return the positions of a latent as rows `n d`."""
    return rearrange(latent, "b d y x -> (b y x) d")


def as_grid(rows: Tensor, like: Latent) -> Tensor:
    """Return rows `n d` as `b d y x`, on the grid of another latent."""
    b, _, y, x = like.shape  # all of them, for an empty batch leaves none to be inferred
    return rearrange(rows, "(b y x) d -> b d y x", b=b, y=y, x=x)


def check_tokens(tokens: Tensor, num_codebooks: int, vocab_size: int) -> Tokens:
    """Return tokens as int64; raise ValueError unless they are integer `b q y x` in range.

    This reads the values, so it waits for the device; in a program that is compiled or exported it does not.
    """
    if tokens.ndim != 4 or tokens.shape[1] != num_codebooks:
        raise ValueError(
            f"The quantizer got tokens of shape {tuple(tokens.shape)}, but takes b q y x with q = {num_codebooks}."
        )
    if tokens.dtype == torch.bool or tokens.is_floating_point() or tokens.is_complex():
        raise ValueError(f"The quantizer got tokens of type {tokens.dtype}, but takes integers: use tokens.long().")
    tokens = tokens.long()
    if torch.compiler.is_compiling():
        return tokens
    if tokens.numel() and not (0 <= int(tokens.min()) and int(tokens.max()) < vocab_size):
        raise ValueError(
            f"The quantizer got tokens from {int(tokens.min())} to {int(tokens.max())}, but its codes are 0 to "
            f"{vocab_size - 1}: these tokens come from another tokenizer or carry an offset."
        )
    return tokens
