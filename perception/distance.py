"""Perceptual distance: how far apart two images are in the features of a frozen network."""

from pathlib import Path
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torchmetrics.functional.image.lpips import _LPIPS

from ..tokenizer.config import Config
from ..tokenizer.shapes import Latent, Pixels
from .backbones import Backbone, BackboneConfig, Frozen, load_backbone, read_weights

LPIPS_VGG = "lpips-vgg"
MIN_SIDE = 16
"""VGG halves the grid four times before its last features."""
MIN_SQUARE = 1e-10


class PerceptualConfig(Config):
    """What measures the perceptual distance."""

    backbone: str = LPIPS_VGG
    """lpips-vgg for LPIPS with its learned heads, or the name of a timm model."""
    weights: Path | None = None
    """File with the backbone's weights, for lpips-vgg those of torchvision's vgg16; none takes the package's own."""
    stages: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """Which feature stages of a timm model are compared; none compares all."""


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
                f"{MIN_SIDE} x {MIN_SIDE} at least: take larger images."
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


def build_perceptual(config: PerceptualConfig) -> LPIPS | FeatureDistance:
    """Build the module whose `forward(pixels, reconstruction)` is the distance of each image, ` b`.

    Raises ValueError with one sentence when weights cannot be had or do not fit.
    """
    if config.backbone != LPIPS_VGG:
        timm_config = BackboneConfig(name=config.backbone, weights=config.weights, stages=config.stages)
        return FeatureDistance(load_backbone(timm_config))
    if config.stages is not None:
        raise ValueError(f"perceptual.stages is {config.stages}, but {LPIPS_VGG} has stages of its own: remove it.")
    if config.weights is not None:
        return LPIPS(_with_weights(config.weights))
    try:
        return LPIPS(_LPIPS(net="vgg"))
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"The weights of torchvision's vgg16 cannot be had ({' '.join(str(error).split())[:120]}): give the path of "
            "their file as perceptual.weights, or the name of a timm model as perceptual.backbone."
        ) from None


def _with_weights(path: Path) -> nn.Module:
    """Return LPIPS over the weights of a file that names them as torchvision's vgg16; its classifier is not needed."""
    given = read_weights(path)
    network = _LPIPS(net="vgg", pnet_rand=True)
    features = {}
    for name, value in network.net.state_dict().items():
        theirs = f"features.{name.partition('.')[2]}"  # slice2.5.weight is layer 5 of torchvision's
        if theirs not in given or given[theirs].shape != value.shape:
            got = f"is {tuple(given[theirs].shape)}" if theirs in given else "is missing"
            raise ValueError(
                f"perceptual.weights is {path}, but its {theirs} {got} where vgg16 has {tuple(value.shape)}: give the "
                "weights of torchvision's vgg16, or a timm model as perceptual.backbone."
            )
        features[name] = given[theirs]
    network.net.load_state_dict(features)
    return network


def _unit(features: Latent) -> Latent:
    return features / (features.square().sum(dim=1, keepdim=True) + MIN_SQUARE).sqrt()
