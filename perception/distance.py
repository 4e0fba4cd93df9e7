"""Perceptual distance: how far apart two images are in the features of a frozen network."""

from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ..tokenizer.config import Config
from ..tokenizer.shapes import Latent, Pixels
from .backbones import Backbone, BackboneConfig, Frozen, load_backbone, read_weights, shortened

LPIPS_VGG = "lpips-vgg"
MIN_SIDE = 16
"""VGG halves the grid four times before its last features."""
MIN_SQUARE = 1e-10
"""Added to squared lengths, so that a gradient exists at 0."""
REMEDY = "give their file as criteria.perceptual.weights, or a timm model as criteria.perceptual.backbone"


class PerceptualConfig(Config):
    """The network that measures the perceptual distance."""

    backbone: str = LPIPS_VGG
    """lpips-vgg for LPIPS with its learned heads, or the name of a timm model."""
    weights: Path | None = None
    """File with the backbone's weights, for lpips-vgg those of torchvision's vgg16; none downloads them."""
    stages: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """Indices of the feature stages of a timm model to compare, from 0 nearest the input; none compares all."""


class LPIPS(nn.Module):
    """Learned perceptual image patch similarity over VGG16 (arXiv 1801.03924), by torchmetrics.

    Returns a distance for each image, ` b` float32, whatever the autocast; gradients reach the reconstruction alone.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.frozen = Frozen(network)

    def forward(self, pixels: Pixels, reconstruction: Pixels) -> Float[Tensor, " b"]:
        """Return the distances; raise ValueError when the images are too small."""
        if min(pixels.shape[-2:]) < MIN_SIDE:
            raise ValueError(
                f"Images of {pixels.shape[-2]} x {pixels.shape[-1]} are too small for {LPIPS_VGG}, which needs "
                f"at least {MIN_SIDE} x {MIN_SIDE}: use larger images."
            )
        with torch.autocast(pixels.device.type, enabled=False):
            return self.frozen.network(pixels.detach().float(), reconstruction.float()).flatten()


class FeatureDistance(nn.Module):
    """Mean over stages and grid of sum_d (f_d / |f| - g_d / |g|)^2, f and g being the features of the two images.

    This is LPIPS (arXiv 1801.03924, eq. 1) with all of its learned weights 1, over any backbone, and a stage lies in
    [0, 4]. Returns a distance for each image, ` b` float32, whatever the autocast; gradients reach the
    reconstruction alone.
    """

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, pixels: Pixels, reconstruction: Pixels) -> Float[Tensor, " b"]:
        """Return the distances; raise ValueError when the images are too small."""
        with torch.no_grad():
            wanted = self.backbone(pixels)
        got = self.backbone(reconstruction)
        with torch.autocast(pixels.device.type, enabled=False):
            stages = [
                (_unit(ours) - _unit(theirs)).square().sum(dim=1).mean(dim=(1, 2))
                for ours, theirs in zip(got, wanted, strict=True)
            ]
            return torch.stack(stages).mean(dim=0)


def build_perceptual(config: PerceptualConfig, remedy: str = REMEDY) -> LPIPS | FeatureDistance:
    """Build the module whose `forward(pixels, reconstruction)` is the distance of each image, ` b`.

    `remedy` ends the sentence of the ValueError that is raised when weights cannot be loaded or do not fit.
    """
    if config.backbone != LPIPS_VGG:
        timm_config = BackboneConfig(name=config.backbone, weights=config.weights, stages=config.stages)
        return FeatureDistance(load_backbone(timm_config, remedy))
    if config.stages is not None:
        raise ValueError(f"stages is {config.stages}, but {LPIPS_VGG} has fixed stages: remove it.")
    from torchmetrics.functional.image.lpips import _LPIPS  # late: takes a second to import

    try:
        # torchmetrics' public metric cannot be built without a download, and its update waits for the device.
        network: Any = _LPIPS(net="vgg", pnet_rand=config.weights is not None)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"torchvision's vgg16 weights cannot be loaded ({shortened(error)}): {remedy}.") from None
    if config.weights is not None:
        given = read_weights(config.weights)
        # slice2.5.weight is features.5.weight of torchvision's; its classifier is not needed.
        theirs = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
        try:
            network.net.load_state_dict({name: given[their] for name, their in theirs.items() if their in given})
        except RuntimeError as error:
            problem = f"{config.weights} does not fit torchvision's vgg16 ({shortened(error)})"
            raise ValueError(f"{problem}: {remedy}.") from None
    return LPIPS(network)


def _unit(features: Latent) -> Latent:
    return features / (features.square().sum(dim=1, keepdim=True) + MIN_SQUARE).sqrt()
