"""What every quantizer and its config promise."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from ..config import Config
from ..shapes import Latent, Tokens
from .layout import check_latent, check_tokens
from .observation import Observation, observe_once


class Quantized(NamedTuple):
    """Output of a quantizer: a quantized latent, its tokens and the losses."""

    latent: Latent
    """`b d y x`, float32: `lookup(tokens)`; its gradient reaches the encoder through the gradient estimator."""
    tokens: Tokens
    """`b q y x`, int64, in [0, vocab_size) whatever the latent."""
    losses: dict[str, Tensor]
    """Unweighted float32 scalars under `loss_names`, 0 for an empty batch; empty outside training mode."""


class QuantizerConfig(Config, ABC):
    """Base of every entry of QUANTIZERS: the plain values that a quantizer is built from."""

    allowed_in: ClassVar[frozenset[str]] = frozenset()
    """Names of the composed quantizers that may hold this one: `residual` only if it has one codebook."""
    behind_tanh: ClassVar[dict[str, str]] = {}
    """Keys with which it compares latents behind tanh, as a quantizer that replaces a bounded one should, if it can."""
    name: str
    """Name in QUANTIZERS."""

    @abstractmethod
    def build(self) -> "Quantizer":
        """Build the quantizer with fresh weights."""


class Quantizer(nn.Module, ABC):
    """Map a latent to the nearest of a finite set of codes, and tokens back to codes.

    One test holds every quantizer to this law: outside training mode, `lookup(quantizer(z).tokens)` equals
    `quantizer(z).latent`, bit for bit. It holds in training mode too, except for the noise and dropout that a config asks
    for, with the codes from before the forward: moving averages move at its end. Weights are float32, and so is all
    arithmetic, under any autocast.
    """

    config: QuantizerConfig
    """What it was built from."""
    dim: int
    """Latent channels."""
    vocab_size: int
    """Codes of each codebook: tokens lie in [0, vocab_size)."""
    num_codebooks: int
    """Tokens per position, the `q` of `b q y x`."""
    loss_names: tuple[str, ...] = ()
    """Names of the losses that it returns in training mode."""
    is_bounded: bool = False
    """Whether each channel is squashed into a fixed interval before it is compared, so that raw distances mean little."""
    needs_grid: bool = False
    """Whether it takes whole grids alone, and cannot be fitted to loose vectors."""
    returns_codes: bool = True
    """Whether training forwards return the codes themselves, not noise around them or the sum of a few levels."""
    training_step: int = 0
    """Optimizer steps taken so far, for schedules inside a quantizer. `set_training_step` sets it; it is not in the state."""

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(self, latent: Latent) -> Quantized:
        """Quantize; raise ValueError when `latent` does not have `dim` channels.

        In training mode with gradients, each codebook then observes all that it saw in this call, once.
        """
        check_latent(latent, self.dim)
        with torch.autocast(latent.device.type, enabled=False):
            result, seen = self.quantize(latent.float())
        if self.training and torch.is_grad_enabled():
            observe_once(seen)
        return result

    @abstractmethod
    def quantize(self, latent: Latent) -> tuple[Quantized, list[Observation]]:
        """Quantize a float32 latent with `dim` channels, and return what the codebooks saw; change no state.

        Composed quantizers call it on those inside; everybody else calls the quantizer.
        """

    @abstractmethod
    def codes_of(self, tokens: Tokens) -> Latent:
        """Return the codes of tokens that are known to be valid, outside autocast and without waiting for the device."""

    @abstractmethod
    def to_code_space(self, latent: Latent) -> Latent:
        """Return the point that `latent` is compared as (normalised or bounded), so that distortion can be measured."""

    @abstractmethod
    def codebooks(self) -> "list[Quantizer]":
        """Return the quantizer of each index along `q`, in order; one that several indices share comes repeatedly."""

    @abstractmethod
    def codebook_inputs(self, latent: Latent) -> list[Tensor]:
        """Return what each of `codebooks()` sees of a latent, without gradients: all of it, some channels or a residual.

        Each is `b d y x`, with the channels of its codebook; that of a multi-scale quantizer is one row of all scales.
        """

    @abstractmethod
    def token_grid(self, y: int, x: int) -> tuple[int, int]:
        """Return the grid of the tokens of a latent whose grid is `y x`."""

    @abstractmethod
    def for_inference(self) -> "tuple[QuantizerConfig, Quantizer]":
        """Return the config and the quantizer to export: the same tokens and codes, nothing that only training needs.

        It is a copy on the same device, in eval mode.
        """

    @final
    def lookup(self, tokens: Tensor) -> Latent:
        """Return the codes of tokens of any integer type; raise ValueError when one is out of range or `q` is wrong."""
        with torch.autocast(tokens.device.type, enabled=False):
            return self.codes_of(check_tokens(tokens, self.num_codebooks, self.vocab_size))

    @final
    def code_rows(self, tokens: Tensor) -> Tensor:
        """Return the codes `n c` of tokens `n` of a quantizer of one codebook; raise ValueError when one is out of range."""
        return self.lookup(tokens[None, None, None])[0, :, 0].T


def set_training_step(module: nn.Module, step: int) -> None:
    """Tell every quantizer inside `module` that `step` optimizer steps have been taken, in place.

    Call it once before the forwards of a step, however many are accumulated. Raises ValueError below 0.
    """
    if step < 0:
        raise ValueError(f"The training step is {step}, but steps taken are 0 or more: give the number taken so far.")
    for inner in module.modules():
        if isinstance(inner, Quantizer):
            inner.training_step = step


def with_gradient_of(value: Tensor, carrier: Tensor) -> Tensor:
    """Return exactly `value` with the gradient of `carrier`, both of one shape.

    While gradients are recorded, a carrier that is not finite makes the result NaN, so that training stops.
    """
    if not torch.is_grad_enabled():
        return value
    # carrier - carrier.detach() is exactly 0, so the sum is exactly `value`; z + (q - z) would round.
    return value.detach() + (carrier - carrier.detach())
