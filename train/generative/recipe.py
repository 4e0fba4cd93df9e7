"""What every recipe for an extra decoder promises; the table RECIPES names those that exist."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, NamedTuple, Protocol, final, runtime_checkable

import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn

from ...tokenizer.config import Config
from ...tokenizer.decoders.base import MAX_STEPS, ExtraDecoder
from ...tokenizer.model import Reconstruction, VisualTokenizer
from ...tokenizer.shapes import Latent, Pixels
from ..opponent import Opponent
from ..optimizer.config import OptimizerConfig


class RecipeOutput(NamedTuple):
    """What a forward of a recipe returns: that of a whole tokenizer."""

    reconstruction: Reconstruction
    """With the pixels of the extra decoder, and the recipe's own losses, by name and unweighted."""
    base: Pixels
    """The plain decoder's answer, not clamped."""
    scalars: dict[str, Tensor]
    """For the log, by path, without gradients."""


class DecoderOutput(NamedTuple):
    """What a recipe has of its decoder for codes and the plain decoder's answer."""

    pixels: Pixels
    losses: dict[str, Tensor]
    """By name and unweighted."""
    scalars: dict[str, Tensor]
    """For the log, by path, without gradients."""


class Recipe(nn.Module, ABC):
    """A tokenizer with a recipe to train its extra decoder `name`; everything else of it is frozen."""

    def __init__(self, model: VisualTokenizer, name: str):
        super().__init__()
        self.model = model
        self.name = name
        steps, kind, most = self.decoder.steps, self.decoder.config.name, self.decoder.max_steps
        if steps > most:
            raise ValueError(f"decoder.recipe.steps is {steps}, but {kind} takes at most {most}: lower it.")

    def forward(self, pixels: Pixels, hardness: float = 1.0) -> RecipeOutput:  # noqa: ARG002  # of training quantizers
        """Let the decoder paint images that went through the frozen tokenizer; random numbers are torch's."""
        with torch.no_grad():
            latent = self.model.encode_latent(pixels)
            codes, tokens, _ = self.model.quantizer(latent)
            base = self.model.decode_latent(codes)
        made, losses, scalars = self.paint(pixels, codes, base)
        return RecipeOutput(Reconstruction(made, latent, codes, tokens, losses), base, scalars)

    @final
    @property
    def decoder(self) -> ExtraDecoder:
        """The decoder that is trained."""
        return self.model.extra_decoder(self.name)

    @abstractmethod
    def paint(self, pixels: Pixels, codes: Latent, base: Pixels) -> DecoderOutput:
        """Return pixels for codes and the plain decoder's answer, with losses that teach the decoder."""

    @abstractmethod
    def opponent(self, accelerator: Accelerator, optimizer: OptimizerConfig) -> Opponent | None:
        """Return what learns beside the decoder, if the recipe has that; `optimizer` is the run's, with its learning rate."""


class RecipeConfig(Config, ABC):
    """Settings of a recipe: the section `decoder.recipe`, chosen by its name."""

    name: str
    """Name of the recipe."""
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = 1
    """Passes through the network for one image, of the decoder that is validated and exported."""
    loss_names: ClassVar[tuple[str, ...]] = ()
    """Names of its own losses, which are keys of `losses`."""
    has_opponent: ClassVar[bool] = False
    """Whether it brings an opponent of its own, so that there can be no discriminator."""
    remedy: ClassVar[str]
    """What to try when the samples collapse or run away, to end a sentence."""

    @abstractmethod
    def build(self, model: VisualTokenizer, name: str) -> Recipe:
        """Build the recipe for the extra decoder `name` of a model on the CPU; raise ValueError if it cannot be."""


@runtime_checkable
class Predicts(Protocol):
    """A decoder that predicts the scaled residual at any time of the path from noise."""

    scale: float

    def predict(self, z: Tensor, time: Tensor, codes: Latent, base: Pixels) -> Tensor:
        """Return the scaled residual that points `b c h w` of the path have at times `b`."""

    def condition(self, codes: Latent, base: Pixels) -> Tensor:
        """Return what the prediction takes from codes and plain answer, the same at every time."""

    def predict_from(self, z: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """Return what `predict` does, bit for bit, from a result of `condition`."""


def require_predicting(decoder: ExtraDecoder, recipe: str) -> None:
    """Raise ValueError unless a decoder predicts residuals."""
    if not isinstance(decoder, Predicts):
        raise ValueError(
            f"decoder.network is {decoder.config.name}, but the recipe {recipe} needs a network that predicts the residual at "
            "any time: use residual_unet, or the recipe gan."
        )


def one_step(decoder: Predicts, noise: Tensor, codes: Latent, base: Pixels) -> Tensor:
    """Return the scaled residual, float32, that a decoder makes of noise in one step."""
    return decoder.predict(noise, noise.new_ones(len(noise)), codes, base).float()


def scaled_residual(pixels: Pixels, base: Pixels, scale: float) -> Tensor:
    """Return what the plain decoder's answer lacks, as the networks see it, float32."""
    return (pixels.float() - base.float()) / scale


def painted_pixels(base: Pixels, residual: Tensor, scale: float) -> Pixels:
    """Return pixels from the plain decoder's answer and a scaled residual."""
    return torch.add(base.float(), residual, alpha=scale)
