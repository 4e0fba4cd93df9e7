"""Distance in the latent of a frozen tokenizer: whether an image would get the same tokens again."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ...perception.backbones import Frozen
from ...pretrained.load_found import load_found
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.shapes import Latent, Pixels
from .criterion import Criterion, CriterionConfig

MIN_SQUARE = 1e-6
"""Added to the mean square of a latent, so that an image whose latent is 0 divides by no 0."""


class LatentCriterionConfig(CriterionConfig):
    """Distance in the latent of a frozen tokenizer, such as the one whose extra decoder is trained."""

    loss_names: ClassVar[tuple[str, ...]] = ("latent",)
    tokenizer: str
    """Tokenizer that encodes both images: a built-in name, a folder, a public name, or hf://owner/repo."""

    def build(self) -> Criterion:
        return LatentCriterion(load_found(self.tokenizer).model)


class LatentEncoder(nn.Module):
    """Map pixels to the latent of a frozen tokenizer, float32; a module of its own, so that it can be compiled."""

    def __init__(self, tokenizer: VisualTokenizer):
        super().__init__()
        self.frozen = Frozen(tokenizer)
        self._encode = tokenizer.encode_latent

    def forward(self, pixels: Pixels) -> Latent:
        return self._encode(pixels).float()


class LatentCriterion(Criterion):
    """The mean over images of |E(x) - E(y)|^2 / |E(x)|^2, E being the input of the quantizer.

    It is 0 where an image and its reconstruction have the same latent, and so the same tokens. Gradients reach the
    reconstruction alone.
    """

    def __init__(self, tokenizer: VisualTokenizer):
        super().__init__()
        self.encoder = LatentEncoder(tokenizer)

    def terms(self, images: Pixels, reconstruction: Pixels) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = self.encoder(images)
        error = (self.encoder(reconstruction) - wanted).square().mean(dim=(1, 2, 3))
        return {"latent": (error / (wanted.square().mean(dim=(1, 2, 3)) + MIN_SQUARE)).mean()}
