"""Flow matching: the decoder learns to predict the residual from any mixture of residual and noise."""

from typing import Annotated, ClassVar, Literal

import torch
from accelerate import Accelerator
from pydantic import Field

from ...tokenizer.decoders.base import MAX_STEPS
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.shapes import Latent, Pixels
from ..opponent import Opponent
from ..optimizer.config import OptimizerConfig
from .flow import flow_loss, interpolate, sample_times
from .recipe import DecoderOutput, Predicts, Recipe, RecipeConfig, painted_pixels, require_predicting, scaled_residual

FLOW = "flow"


class FlowConfig(RecipeConfig):
    """Flow matching: a decoder of several steps, and the teacher of distill and fgm."""

    name: Literal["flow"] = "flow"
    """Name of the recipe: flow."""
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 8
    """Euler steps of the decoder that is validated and exported, 1 to 25; training is the same for all."""
    loss_names: ClassVar[tuple[str, ...]] = (FLOW,)
    remedy: ClassVar[str] = "a lower optimizer.lr, or a smaller decoder.network"

    def build(self, model: VisualTokenizer, name: str) -> Recipe:
        require_predicting(model.extra_decoder(name), self.name)
        return FlowMatching(model, name)


class FlowMatching(Recipe):
    """Predicts the residual at random times of straight paths to noise; its pixels are of that prediction."""

    def paint(self, pixels: Pixels, codes: Latent, base: Pixels) -> DecoderOutput:
        decoder = self.decoder
        assert isinstance(decoder, Predicts)
        residual = scaled_residual(pixels, base, decoder.scale)
        times = sample_times(len(pixels), pixels.device)
        noisy = interpolate(residual, torch.randn_like(residual), times)
        predicted = decoder.predict(noisy, times, codes, base)
        losses = {FLOW: flow_loss(predicted, residual, times)}
        return DecoderOutput(painted_pixels(base, predicted.float(), decoder.scale), losses, {})

    def opponent(self, accelerator: Accelerator, optimizer: OptimizerConfig) -> Opponent | None:  # noqa: ARG002
        return None
