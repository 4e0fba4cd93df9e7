"""The configuration of an extra decoder's fine-tuning: its recipe, and the stages that lead there."""

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Field, model_validator

from ...perception.distance import PerceptualConfig
from ...tokenizer.config import Config
from ...tokenizer.decoders.table import ExtraDecoderConfig
from ..generative.recipes import DecoderName
from ..losses.adversarial import AdversarialConfig
from ..losses.criteria import PerceptualCriterionConfig
from ..losses.terms import LossWeights

RecipeName: TypeAlias = Literal["gan", "flow", "distill", "fgm"]
RECIPE_NAMES: tuple[RecipeName, ...] = get_args(RecipeName)
STAGES: dict[RecipeName, tuple[RecipeName, ...]] = {
    "gan": ("gan",),
    "flow": ("flow",),
    "distill": ("flow", "distill"),
    "fgm": ("flow", "distill", "fgm"),
}
"""The recipes to train by, in order, for a decoder of each."""
LOSSES: dict[RecipeName, dict[str, float]] = {
    "gan": {"l1": 1.0, "adversarial": 0.5},
    "flow": {"flow": 1.0},
    "distill": {"distillation": 1.0},
    "fgm": {"matching": 1.0},
}
"""Weights of losses where a stage gives none."""
PERCEPTUAL: dict[RecipeName, dict[str, float]] = {"gan": {"perceptual": 0.5}, "distill": {"perceptual": 0.5}}
"""Further ones where there is a perceptual distance."""
RESIDUAL = "residual_unet"
NETWORKS: dict[object, str] = {"gan": "noise_channels"}
"""Network of each recipe, if it is not RESIDUAL."""


class DecoderStageConfig(Config):
    """One stage of a decoder's training."""

    steps: Annotated[int, Field(ge=1)]
    """Optimizer steps."""
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate of Muon and AdamW."""
    losses: LossWeights | None = None
    """Weight of each loss by name; null takes the recipe's own, and perceptual for gan and distill if there is one."""
    recipe: dict[str, Any] = {}
    """Other keys of the recipe, such as {penalty: 1.0} for fgm."""


class GenerativeConfig(Config):
    """An extra decoder to train for a tokenizer that stays as it is."""

    name: DecoderName = "generative"
    """Name of the decoder in the tokenizer folder."""
    recipe: RecipeName = "distill"
    """Recipe of the decoder: gan, flow, distill (after flow), or fgm (after both)."""
    network: ExtraDecoderConfig | None = None
    """Network of the decoder; null takes noise_channels for gan and residual_unet for the others."""
    gan: DecoderStageConfig = DecoderStageConfig(steps=1500, lr=5e-4)
    """Stage of the recipe gan."""
    flow: DecoderStageConfig = DecoderStageConfig(steps=4000, lr=2e-3)
    """Stage of the recipe flow."""
    distill: DecoderStageConfig = DecoderStageConfig(steps=1500, lr=1e-3)
    """Stage of the recipe distill."""
    fgm: DecoderStageConfig = DecoderStageConfig(steps=600, lr=2e-4)
    """Stage of the recipe fgm."""
    perceptual: PerceptualCriterionConfig | None = None
    """Network of a perceptual distance for gan and distill, such as {backbone: NAME, weights: FILE}; null does without."""
    judge: PerceptualConfig | None = None
    """Network of the perceptual distance that decoders are judged by in the end; null measures none. No loss may use it."""
    adversarial: AdversarialConfig = AdversarialConfig(adaptive=True, start=50, ramp=100)
    """Discriminator and its training, for gan."""
    export_precision: Literal["float32", "float16"] = "float16"
    """Type of the decoder's weights in the result."""
    validated: Annotated[int, Field(ge=1)] = 16
    """Evaluation images that are looked at in the course of a stage, at most about so many."""
    evaluated: Annotated[int, Field(ge=1)] = 128
    """Evaluation images that both decoders are measured on in the end, at most about so many."""

    @property
    def stages(self) -> dict[RecipeName, DecoderStageConfig]:
        """The stages of the recipe, in order."""
        return {name: getattr(self, name) for name in STAGES[self.recipe]}

    def losses(self, stage: RecipeName) -> dict[str, float]:
        """Return the weights of the losses of a stage."""
        given = self.stages[stage].losses
        return given if given is not None else LOSSES[stage] | (PERCEPTUAL.get(stage, {}) if self.perceptual else {})

    @model_validator(mode="after")
    def _stages_have_their_recipes(self) -> "GenerativeConfig":
        for stage, config in self.stages.items():
            if (name := config.recipe.get("name", stage)) != stage:
                raise ValueError(
                    f"{stage}.recipe.name is {name}, but the stage {stage} has its own recipe: leave it out, and choose with "
                    "--recipe."
                )
        return self

    @model_validator(mode="after")
    def _perceptual_has_a_network(self) -> "GenerativeConfig":
        for name in self.stages:
            if self.losses(name).get("perceptual") and self.perceptual is None:
                raise ValueError(
                    f"{name}.losses has a weight for perceptual, but there is no network for it: give generative.perceptual."
                )
        return self
