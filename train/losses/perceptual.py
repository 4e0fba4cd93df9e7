"""The loss `perceptual`: the distance between features of a frozen network."""

from typing import ClassVar

from torch import Tensor, nn

from ...perception.distance import PerceptualConfig, build_perceptual
from ...tokenizer.shapes import Pixels
from .criterion import Criterion, CriterionConfig


class PerceptualCriterionConfig(PerceptualConfig, CriterionConfig):
    """Perceptual distance, by LPIPS or any timm model."""

    loss_names: ClassVar[tuple[str, ...]] = ("perceptual",)

    def build(self) -> Criterion:
        return PerceptualCriterion(build_perceptual(self))


class PerceptualCriterion(Criterion):
    """The mean over images of a distance that returns ` b`."""

    def __init__(self, distance: nn.Module):
        super().__init__()
        self.distance = distance

    def terms(self, images: Pixels, reconstruction: Pixels) -> dict[str, Tensor]:
        return {"perceptual": self.distance(images, reconstruction).mean()}
