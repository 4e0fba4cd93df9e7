"""The learning rate at another batch size: what is known of the best rate as a function of the batch.

Each rule is the best rate at batch B up to a constant; the rate at a base batch B0, where it was tuned, fixes the
constant, so every rule is the identity at B = B0. The symbols: g is the gradient without noise, s^2 the variance of each
coordinate over pictures, H the Hessian.
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from ..tokenizer.config import Config

RuleName = Literal["linear", "sqrt", "sgd_saturating", "sign_saturating", "surge", "muon"]


class Batch(NamedTuple):
    """A batch size, and what the rules measure it against."""

    size: float
    """Pictures of the batch; with momentum, as many as it averages over."""
    noise_scale: float | None
    curvature_ratio: float | None
    sign_constant: float

    @property
    def noise(self) -> float:
        """Noise over signal in the gradient of the batch, B_noise / B."""
        assert self.noise_scale is not None
        return self.noise_scale / self.size

    @property
    def certainty(self) -> float:
        """Mean of a coordinate's noisy sign, b = 1 / sqrt(1 + c k^2 / B), in (0, 1]."""
        return 1 / math.sqrt(1 + self.sign_constant * self.noise)


class Rule(NamedTuple):
    """The best rate as a function of the batch, and what it must know."""

    shape: Callable[[Batch], float]
    needs_noise_scale: bool = True
    needs_curvature_ratio: bool = False


def _surge(batch: Batch) -> float:
    assert batch.curvature_ratio is not None
    return 2 / (batch.curvature_ratio / batch.certainty + batch.certainty / batch.curvature_ratio)


RULES: dict[RuleName, Rule] = {
    "linear": Rule(lambda batch: batch.size, needs_noise_scale=False),
    "sqrt": Rule(lambda batch: math.sqrt(batch.size), needs_noise_scale=False),
    "sgd_saturating": Rule(lambda batch: 1 / (1 + batch.noise)),
    "sign_saturating": Rule(lambda batch: batch.certainty),
    "surge": Rule(_surge, needs_curvature_ratio=True),
    "muon": Rule(lambda batch: 1 / math.sqrt(1 + batch.noise)),
}
"""The rules.

    linear           B, SGD as a stochastic differential equation (kexue.fm 10542)
    sqrt             sqrt(B), equal variance of SGD's step, or Adam as a stochastic differential equation (10542)
    sgd_saturating   1 / (1 + B_noise / B), B_noise = tr(S H) / (g H g), about tr(S) / |g|^2: least loss after a step of
                     SGD on a quadratic (10542; McCandlish et al., arXiv 1812.06162)
    sign_saturating  b = 1 / sqrt(1 + c k^2 / B), k^2 = mean of s^2 / g^2, about tr(S) / |g|^2: the same for signs and
                     Adam when H is diagonal (10542, c = pi / 2; 11280, c = 1)
    surge            2 / (b_n / b + b / b_n), with b as above and b_n the curvature ratio: the same for any H; greatest
                     at b = b_n, that is B = c k^2 b_n^2 / (1 - b_n^2), if b_n < 1, and falling beyond (10542)
    muon             1 / sqrt(1 + B_simple / B), B_simple = tr(S) / |g|^2 (11285)
"""

SIGN_CONSTANTS = {"sign": math.pi / 2, "adam": 1.0}
"""The constant c: for the sign of one noisy gradient with the error function replaced by x / sqrt(x^2 + pi / 4) (10542),
which is exact for small and large B and up to 12 % low between; for Adam, whose second moment has averaged the noise
away, in the mean field (11280)."""


class LrScalingConfig(Config):
    """How the learning rate follows the batch size."""

    rule: RuleName
    """Law that the best rate follows: linear, sqrt, sgd_saturating, sign_saturating, surge or muon."""
    base_batch_size: Annotated[int, Field(ge=1)]
    """Pictures of a step, over all processes, that optimizer.lr was tuned for."""
    noise_scale: Annotated[float, Field(gt=0)] | None = None
    """Gradient noise scale in pictures; all rules but linear and sqrt need it, and the trainer logs it as noise_scale/*."""
    curvature_ratio: Annotated[float, Field(gt=0)] | None = None
    """For surge: sqrt of the Hessian's trace over the sum of sign(g_i g_j) H_ij off the diagonal; it surges if below 1."""
    signs: Literal["sign", "adam"] = "adam"
    """For sign_saturating and surge: whether steps are signs of single gradients or Adam's."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the optimizer's momentum when it is to count as a larger batch, by (1 + momentum) / (1 - momentum) (11301)."""

    @model_validator(mode="after")
    def _complete(self) -> "LrScalingConfig":
        _check(self.rule, self.noise_scale, self.curvature_ratio)
        return self

    def scale(self, lr: float, batch_size: int) -> float:
        """Return the rate at a batch size for a rate at the base batch size."""
        return scale_lr(
            lr,
            self.base_batch_size,
            batch_size,
            self.rule,
            self.noise_scale,
            self.curvature_ratio,
            SIGN_CONSTANTS[self.signs],
            self.momentum,
        )


def scale_lr(
    lr: float,
    base_batch: float,
    batch: float,
    rule: RuleName,
    noise_scale: float | None = None,
    curvature_ratio: float | None = None,
    sign_constant: float = SIGN_CONSTANTS["adam"],
    momentum: float = 0.0,
) -> float:
    """Return the rate at `batch` pictures by a rule of RULES, for the rate `lr` at `base_batch`.

    `noise_scale` is in pictures; `momentum` makes each batch count (1 + momentum) / (1 - momentum) times. Raises ValueError
    when the rule needs a noise scale or a curvature ratio and has none.
    """
    _check(rule, noise_scale, curvature_ratio)
    longer = (1 + momentum) / (1 - momentum)
    here, base = (Batch(longer * size, noise_scale, curvature_ratio, sign_constant) for size in (batch, base_batch))
    return lr * RULES[rule].shape(here) / RULES[rule].shape(base)


def _check(rule: RuleName, noise_scale: float | None, curvature_ratio: float | None) -> None:
    if RULES[rule].needs_noise_scale and noise_scale is None:
        raise ValueError(
            f"rule {rule} needs the gradient noise scale, but noise_scale is not set: set it to what a run logs as "
            "noise_scale/*, or choose linear or sqrt."
        )
    if RULES[rule].needs_curvature_ratio and curvature_ratio is None:
        raise ValueError(f"rule {rule} needs curvature_ratio, but it is not set: set it, or choose sign_saturating.")
