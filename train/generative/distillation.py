"""Distillation to one step: the student learns what the teacher makes of the same noise in several steps."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from accelerate import Accelerator
from pydantic import Field

from ...tokenizer.decoders.base import MAX_STEPS, ExtraDecoder
from ...tokenizer.decoders.euler import integrate
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.shapes import Latent, Pixels
from ..opponent import Opponent
from ..optimizer.config import OptimizerConfig
from .recipe import DecoderOutput, Predicts, Recipe, RecipeConfig, one_step, painted_pixels, require_predicting
from .teacher import load_teacher

DISTILLATION = "distillation"


class DistillConfig(RecipeConfig):
    """Distillation of a flow to a decoder of one step, by its answers to the same noise."""

    name: Literal["distill"] = "distill"
    """Name of the recipe: distill."""
    teacher: Path
    """Tokenizer folder whose decoder of the same name is the teacher, trained by flow."""
    teacher_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 8
    """Euler steps of the teacher."""
    loss_names: ClassVar[tuple[str, ...]] = (DISTILLATION,)
    remedy: ClassVar[str] = "a lower losses.perceptual, or a lower optimizer.lr"

    def build(self, model: VisualTokenizer, name: str) -> Recipe:
        require_predicting(model.extra_decoder(name), self.name)
        return Distillation(model, name, load_teacher(self.teacher, name, model), self.teacher_steps)


class Distillation(Recipe):
    """Compares the student's one step with the teacher's several."""

    def __init__(self, model: VisualTokenizer, name: str, teacher: ExtraDecoder, steps: int):
        super().__init__(model, name)
        self.teacher = teacher
        self.decoder.scale = teacher.scale  # both predict the same residual
        self._steps = steps

    def paint(self, pixels: Pixels, codes: Latent, base: Pixels) -> DecoderOutput:
        student, teacher = self.decoder, self.teacher
        assert isinstance(student, Predicts) and isinstance(teacher, Predicts)
        noise = torch.randn_like(pixels, dtype=torch.float32)
        with torch.no_grad():
            condition = teacher.condition(codes, base)
            answer = integrate(lambda z, times: teacher.predict_from(z, times, condition), noise, self._steps)
        residual = one_step(student, noise, codes, base)
        losses = {DISTILLATION: (residual - answer).abs().mean()}
        return DecoderOutput(painted_pixels(base, residual, student.scale), losses, {})

    def opponent(self, accelerator: Accelerator, optimizer: OptimizerConfig) -> Opponent | None:  # noqa: ARG002
        return None
