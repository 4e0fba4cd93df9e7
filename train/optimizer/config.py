"""The optimizer section of a run's config."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...tokenizer.config import Config, Pattern
from .adam import SecondMoment
from .lr_scaling import LrScalingConfig
from .orthogonalize import Precision


class RuleConfig(Config):
    """Which parameters one optimizer takes."""

    pattern: Pattern
    """Regular expression that the whole parameter name must match."""
    use: Literal["muon", "adamw"]
    """Optimizer of the matching parameters."""
    decay: bool = True
    """Whether weight decay applies to them."""


class OptimizerConfig(Config):
    """How the weights are trained."""

    name: Literal["muon", "adamw"] = "muon"
    """Muon for the hidden matrices of the networks with AdamW for the rest, or AdamW for all."""
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate, of AdamW and, times `muon_rate`, of Muon."""
    scale_lr: LrScalingConfig | None = None
    """How the rate follows the batch size; none takes `lr` unchanged."""
    scaling: Literal["match_rms_adamw", "original", "rms_to_rms"] = "match_rms_adamw"
    """Scale of Muon's updates: that of AdamW with these betas, so that one rate serves both; or Keller Jordan's or muP's."""
    muon_rate: Annotated[float, Field(gt=0)] = 1.0
    """Muon's rate as a multiple of AdamW's, which the weight decay does not follow; about 10 for original and rms_to_rms."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """Decay of AdamW's moving averages."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of AdamW's second moment; much smaller gradients get SGD-like steps."""
    second_moment: SecondMoment = "raw"
    """What AdamW's second moment averages: the squared gradient, or its squared distance from the mean (AdaBelief)."""
    codebook_rows: Literal["dense", "lazy"] = "dense"
    """Whether AdamW steps every row of a codebook at every step, or, lazy, only the rows that got a gradient."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of Muon's Nesterov momentum."""
    orthogonalization: Precision = "auto"
    """Precision in which Muon orthogonalises: float32, bfloat16, or auto, which is bfloat16 on a GPU that has it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay."""
    warmup: Annotated[int, Field(ge=0)] = 100
    """Steps over which the rate rises from 0."""
    final_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Fraction of the peak rate at the end of the cosine."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Max norm of the gradient; larger gradients are scaled down."""
    rules: Annotated[list[RuleConfig], Field(min_length=1)] | None = None
    """Which parameters Muon takes, each matched by exactly one rule; none asks the networks for their hidden matrices."""

    @model_validator(mode="after")
    def _has_momentum(self) -> "OptimizerConfig":
        if self.second_moment == "centred" and self.betas[0] == 0:
            raise ValueError(
                "second_moment is centred, which takes the distance from the momentum, but betas[0] is 0, so there is no "
                "momentum: use raw, or betas[0] above 0."
            )
        return self

    def at_batch_size(self, batch_size: int) -> "OptimizerConfig":
        """Return this config with each rate scaled by its own law to a batch of `batch_size` images over all processes."""
        if self.scale_lr is None:
            return self
        adamw = self.scale_lr.adamw_factor(batch_size, self.betas[0], self.eps, self.second_moment)
        muon = self.scale_lr.muon_factor(batch_size, self.momentum)
        return self.model_copy(
            update={"lr": self.lr * adamw, "muon_rate": self.muon_rate * muon / adamw, "scale_lr": None}
        )

    def lr_ratio(self, step: int, steps: int) -> float:
        """Return the rate at a step, from 1 to `steps`, as a fraction of the peak: linear warm-up, then half a cosine down."""
        if step <= self.warmup:
            return step / self.warmup
        progress = (step - self.warmup) / max(1, steps - self.warmup)
        return self.final_lr_ratio + (1 - self.final_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2
