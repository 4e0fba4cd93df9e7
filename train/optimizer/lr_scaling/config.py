"""How the learning rate of a run follows its batch size: by the law of each optimizer, with its own momentum."""

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ....tokenizer.config import Config
from ..adam import SecondMoment
from .laws import adabelief_rate, adam_rate, muon_rate


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
