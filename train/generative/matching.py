"""Flow generator matching: the score identity distillation of a flow to one step, which needs no answers of the teacher."""

from copy import deepcopy
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from accelerate import Accelerator
from pydantic import Field

from ...tokenizer.decoders.base import ExtraDecoder
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.shapes import Latent, Pixels
from ..opponent import Opponent
from ..optimizer.config import OptimizerConfig
from .fake_training import FakeTraining
from .flow import interpolate, sample_times, velocity_weight
from .recipe import DecoderOutput, Predicts, Recipe, RecipeConfig, one_step, painted_pixels, require_predicting
from .score_identity import FLOW_GENERATOR_MATCHING, disagreement, matching_loss
from .teacher import load_teacher

MATCHING = "matching"
DISTANCE = "matching/distance"


class FgmConfig(RecipeConfig):
    """Distillation of a flow to one step by the distance of distributions: flow generator matching, or SiD."""

    name: Literal["fgm"] = "fgm"
    """Name of the recipe: fgm."""
    teacher: Path
    """Tokenizer folder whose decoder of the same name is the teacher, trained by flow; the fake network starts from it."""
    penalty: Annotated[float, Field(ge=0)] = FLOW_GENERATOR_MATCHING
    """Lambda of the loss L2 - lambda L1: 0.5 is flow generator matching, 1 is score identity distillation (SiD)."""
    fake_steps: Annotated[int, Field(ge=1)] = 2
    """Steps of the fake network for each step of the decoder."""
    fake_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the fake network; by default optimizer.lr."""
    loss_names: ClassVar[tuple[str, ...]] = (MATCHING,)
    has_opponent: ClassVar[bool] = True
    remedy: ClassVar[str] = "another decoder.recipe.penalty (0.5 or 1), more fake_steps, or a lower optimizer.lr"

    def build(self, model: VisualTokenizer, name: str) -> Recipe:
        require_predicting(model.extra_decoder(name), self.name)
        return Matching(model, name, load_teacher(self.teacher, name, model), self)


class Matching(Recipe):
    """Compares the teacher with a fake network, which predicts as the teacher does, but for the decoder's own samples."""

    def __init__(self, model: VisualTokenizer, name: str, teacher: ExtraDecoder, config: FgmConfig):
        super().__init__(model, name)
        self.teacher = teacher
        self.decoder.scale = teacher.scale  # both predict the same residual
        self._config = config
        # Hidden from the module: its opponent trains it, and keeps it in checkpoints.
        self._fake: list[ExtraDecoder] = []

    def paint(self, pixels: Pixels, codes: Latent, base: Pixels) -> DecoderOutput:
        generator, teacher, (fake,) = self.decoder, self.teacher, self._fake
        assert isinstance(generator, Predicts) and isinstance(teacher, Predicts) and isinstance(fake, Predicts)
        sample = one_step(generator, torch.randn_like(pixels, dtype=torch.float32), codes, base)
        times = sample_times(len(pixels), pixels.device)
        noisy = interpolate(sample, torch.randn_like(sample), times)
        of_data, of_samples = (network.predict(noisy, times, codes, base).float() for network in (teacher, fake))
        losses = {MATCHING: matching_loss(of_data, of_samples, sample, times, self._config.penalty)}
        apart = disagreement(of_data.detach(), of_samples.detach(), velocity_weight(times)).sqrt()
        return DecoderOutput(painted_pixels(base, sample, generator.scale), losses, {DISTANCE: apart})

    def opponent(self, accelerator: Accelerator, optimizer: OptimizerConfig) -> Opponent | None:
        rate = optimizer.model_copy(update={"lr": self._config.fake_lr or optimizer.lr})
        self._fake = [deepcopy(self.teacher)]
        return FakeTraining(self._fake[0], self.decoder, self._config.fake_steps, rate, accelerator)
