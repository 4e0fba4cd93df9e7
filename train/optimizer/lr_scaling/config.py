"""How a run's rate follows its batch size: the law is that of the optimizer, which the optimizer's own config tells."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ....tokenizer.config import Config
from ..adam import SecondMoment
from .laws import RuleName, scale_lr

ADAM_RULES: dict[SecondMoment, RuleName] = {"raw": "adam", "centred": "adabelief"}


class LrScalingConfig(Config):
    """How the learning rate follows the batch size."""

    rule: Literal["best_step", "linear", "sqrt"]
    """best_step: by AdamW's law for its parameters and Muon's for its own, each with its momentum; or B, or sqrt(B)."""
    base_batch_size: Annotated[int, Field(ge=1)]
    """Images of a step, over all processes, that optimizer.lr was tuned for."""
    noise_scale: Annotated[float, Field(gt=0)] | None = None
    """For best_step: gradient noise scale in images, which a run logs as noise_scale/*."""
    curvature_ratio: Annotated[float, Field(gt=0)] | None = None
    """For best_step: what a run logs as curvature/ratio; none takes AdamW's law for a diagonal Hessian."""
    gradient_rms: Annotated[float, Field(gt=0)] | None = None
    """For best_step: what a run logs as curvature/gradient_rms, against which AdamW's eps counts; none neglects eps."""

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
        if self.rule != "best_step":
            return self._plain(batch_size)
        return scale_lr(
            1.0,
            self.base_batch_size,
            batch_size,
            ADAM_RULES[second_moment],
            self.noise_scale,
            beta=beta1,
            curvature_ratio=self.curvature_ratio,
            epsilon_ratio=eps / self.gradient_rms if self.gradient_rms else 0.0,
        )

    def muon_factor(self, batch_size: int, momentum: float) -> float:
        """Return the same for Muon, whose momentum is Nesterov's."""
        if self.rule != "best_step":
            return self._plain(batch_size)
        return scale_lr(1.0, self.base_batch_size, batch_size, "muon", self.noise_scale, beta=momentum, nesterov=True)

    def _plain(self, batch_size: int) -> float:
        assert self.rule != "best_step"
        return scale_lr(1.0, self.base_batch_size, batch_size, self.rule)
