"""The Inception network that rFID is defined with, by torch-fidelity (the extra `fid`)."""

import contextlib
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from ..perception.backbones import Frozen
from ..perception.weights import shortened
from ..tokenizer.shapes import Pixels, Vectors


class Inception(nn.Module):
    """Map pixels to the 2048 pooled features of the TensorFlow Inception-v3 that FID is defined with (arXiv 1706.08500)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.frozen = Frozen(network)

    @torch.no_grad()
    def pooled(self, pixels: Pixels) -> Vectors:
        """Return the features `n 2048` of pixels in [-1, 1], rounded to uint8 first, which is what the network takes."""
        bytes_ = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        with torch.autocast(pixels.device.type, enabled=False):
            features: tuple[Tensor, ...] = self.frozen.network(bytes_)
        return features[0]


def load_inception(weights: Path | None = None) -> Inception:
    """Build the network with its published weights, from a file or, without one, by download.

    Raises ValueError with one sentence when the package or the weights are missing.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise ValueError("rFID needs the package torch-fidelity: pip install 'vistok[fid]'.") from None
    if weights is not None and not weights.is_file():
        raise ValueError(f"There is no weight file {weights}: give the weights of torch-fidelity's Inception.")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            network = FeatureExtractorInceptionV3("inception", ["2048"], str(weights) if weights else None)
    except Exception as error:  # torch.hub, the network and damaged files raise many kinds
        raise ValueError(
            f"The Inception weights of rFID cannot be loaded ({shortened(error)}): give their file as "
            "--inception-weights, or use --frechet with a timm model."
        ) from None
    return Inception(network)
