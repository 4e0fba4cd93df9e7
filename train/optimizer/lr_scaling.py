"""How the best learning rate of one step depends on the batch size, for AdamW, AdaBelief and Muon.

Each law is the rate at which one step lowers the loss most, from given weights and for a given shape of the loss, up to a
constant factor. None is the best rate of a whole run: noise accumulates over steps, the curvature follows the rate, and a
higher rate can win. Begin a search with it.

Symbols: g is the gradient without noise, s^2 the variance of each coordinate over images, and H the Hessian. B is the batch
size, and k = B_simple / B with B_simple = tr(S) / |g|^2. r is the variance of the noise that is left after momentum.
b_n is the curvature ratio: b_n^2 = sum of H_ii / sum over i != j of sign(g_i g_j) H_ij. For a diagonal Hessian it is
infinite (None). e is Adam's epsilon over the root mean square of g. https://kexue.fm/archives/11280 and 11285 derive the laws.
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...tokenizer.config import Config
from .adam import SecondMoment


class LrScalingConfig(Config):
    """How the learning rate follows the batch size."""

    rule: Literal["best_step", "linear", "sqrt"]
    """best_step: AdamW and Muon each by its own law for one step; linear: with the batch size; sqrt: with its root."""
    base_batch_size: Annotated[int, Field(ge=1)]
    """Images per step, over all processes, that optimizer.lr was tuned for."""
    noise_scale: Annotated[float, Field(gt=0)] | None = None
    """For best_step: gradient noise scale in images, logged as noise_scale/*."""
    curvature_ratio: Annotated[float, Field(gt=0)] | None = None
    """For best_step: curvature ratio, logged as curvature/ratio; none assumes a diagonal Hessian."""
    gradient_rms: Annotated[float, Field(gt=0)] | None = None
    """For best_step: size of the gradient beside AdamW's eps, logged as curvature/gradient_rms; none ignores eps."""

    @model_validator(mode="after")
    def _complete(self) -> "LrScalingConfig":
        possible = ("noise_scale", "curvature_ratio", "gradient_rms")
        measured = [name for name in possible if getattr(self, name) is not None]
        if self.rule == "best_step" and self.noise_scale is None:
            raise ValueError(
                "rule is best_step, which needs the gradient noise scale, but noise_scale is not set: set it to what a run "
                "logs as noise_scale/*, or choose linear or sqrt."
            )
        if self.rule != "best_step" and measured:
            verb, what = ("is", "it") if len(measured) == 1 else ("are", "them")
            raise ValueError(
                f"rule is {self.rule}, which takes nothing measured, but {' and '.join(measured)} {verb} set: choose "
                f"best_step, or remove {what}."
            )
        return self

    def adamw_factor(self, batch_size: int, beta1: float, eps: float, second_moment: SecondMoment = "raw") -> float:
        """Return AdamW's rate at a batch size over that at the base batch size."""
        law = adam_rate if second_moment == "raw" else adabelief_rate
        epsilon_ratio = eps / self.gradient_rms if self.gradient_rms else 0.0
        return self._factor(batch_size, lambda k: law(k, beta1, self.curvature_ratio, epsilon_ratio))

    def muon_factor(self, batch_size: int, momentum: float) -> float:
        """Return the same for Muon."""
        return self._factor(batch_size, lambda k: muon_rate(k, momentum))

    def _factor(self, batch_size: int, law: Callable[[float], float]) -> float:
        if self.rule == "linear":
            return batch_size / self.base_batch_size
        if self.rule == "sqrt":
            return math.sqrt(batch_size) / math.sqrt(self.base_batch_size)
        assert self.noise_scale is not None
        return law(self.noise_scale / batch_size) / law(self.noise_scale / self.base_batch_size)


def adam_rate(k: float, beta: float = 0.0, curvature_ratio: float | None = None, epsilon_ratio: float = 0.0) -> float:
    """Return sqrt(1 + k + e^2) / (1 + b_n^2 (1 + r k)), or sqrt(1 + k + e^2) / (1 + r k) for a diagonal Hessian.

    The second moment holds all the noise while the momentum holds r of it. With momentum the rate falls beyond
    B = r / (1 - 2 r) B_simple even for a diagonal Hessian: 0.06 B_simple at beta = 0.9. Epsilon is inside the root
    (https://kexue.fm/archives/10563); torch adds it outside, which would make the numerator sqrt(1 + k) + e.
    """
    root = math.hypot(1, math.sqrt(k), epsilon_ratio)
    return _adaptive(root, 1 + noise_left(beta) * k, curvature_ratio)


def adabelief_rate(k: float, beta: float, curvature_ratio: float | None = None, epsilon_ratio: float = 0.0) -> float:
    """Return the same with sqrt(2 beta^2 / (1 + beta) k + e^2) above: the second moment holds the noise alone.

    https://kexue.fm/archives/10588. It needs momentum: without, the gradient minus its average is 0.
    """
    variance = 2 * beta**2 / (1 + beta) * k  # of a gradient minus the average that contains it
    root = math.hypot(math.sqrt(variance), epsilon_ratio)
    return _adaptive(root, 1 + noise_left(beta) * k, curvature_ratio)


def muon_rate(k: float, momentum: float = 0.0) -> float:
    """Return 1 / sqrt(1 + r k), the law of orthogonalised Nesterov momentum."""
    return 1 / math.sqrt(1 + noise_left(momentum, nesterov=True) * k)


def _adaptive(root: float, second: float, curvature_ratio: float | None) -> float:
    """Return root / (1 + b_n^2 second), in units in which it is finite for every b_n."""
    across = 0.0 if curvature_ratio is None else 1 / math.hypot(1, curvature_ratio)
    diagonal = 1.0 if curvature_ratio is None else curvature_ratio * across
    return root / (across**2 + diagonal**2 * second)


def noise_left(beta: float, nesterov: bool = False) -> float:
    """Return r, the variance of an average of decay `beta` over independent noise of variance 1; its weights sum to 1.

    It is (1 - beta) / (1 + beta). Nesterov's beta m + (1 - beta) G counts the newest gradient twice, which leaves
    (1 - beta^2)^2 + beta^4 (1 - beta) / (1 + beta).
    """
    plain = (1 - beta) / (1 + beta)
    return (1 - beta**2) ** 2 + beta**4 * plain if nesterov else plain
