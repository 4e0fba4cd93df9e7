"""Adversarial training: the decoder gets noise, and a discriminator and losses on pixels judge what it paints."""

from typing import ClassVar, Literal

import torch
from accelerate import Accelerator

from ...tokenizer.model import VisualTokenizer
from ...tokenizer.shapes import Latent, Pixels
from ..opponent import Opponent
from ..optimizer.config import OptimizerConfig
from .recipe import DecoderOutput, Recipe, RecipeConfig


class GanConfig(RecipeConfig):
    """Adversarial training, with the losses on pixels, criteria and the discriminator of the run."""

    name: Literal["gan"] = "gan"
    """Name of the recipe: gan."""
    remedy: ClassVar[str] = "a lower losses.adversarial, adversarial.adaptive, or a lower optimizer.lr"

    def build(self, model: VisualTokenizer, name: str) -> Recipe:
        return Gan(model, name)


class Gan(Recipe):
    """Paints with fresh noise in one step; all losses are those of the run."""

    def paint(self, pixels: Pixels, codes: Latent, base: Pixels) -> DecoderOutput:
        shape = self.decoder.noise_shape(*pixels.shape[2:])
        noise = torch.randn(len(pixels), *shape, device=pixels.device)
        return DecoderOutput(self.decoder(codes, base, noise), {}, {})

    def opponent(self, accelerator: Accelerator, optimizer: OptimizerConfig) -> Opponent | None:  # noqa: ARG002
        return None  # the discriminator of the run, if its config has one
