"""Frechet distance between two sets of feature vectors, and the Inception features that rFID is defined with.

torchmetrics' FrechetInceptionDistance is not used: with fewer images than features it was wrong by 1 %, and negative for a
set and itself. Its float64 states do not go to Apple's GPU.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..perception.backbones import shortened
from ..tokenizer.devices import in_float64
from ..tokenizer.shapes import Pixels, Vectors
from .running_covariance import RunningCovariance


class FrechetMetric:
    """The Frechet distance between the features of the images and those of their reconstructions."""

    def __init__(self, features: Callable[[Pixels], Vectors]):
        self._features = features
        self._sides: list[RunningCovariance] = []

    @torch.inference_mode()
    def update(self, original: Pixels, reconstruction: Pixels) -> None:
        features = [in_float64(self._features(side)) for side in (original, reconstruction)]
        if not self._sides:
            self._sides = [RunningCovariance(each.shape[1], each.device, full=True) for each in features]
        for side, vectors in zip(self._sides, features, strict=True):
            side.add_vectors(vectors)

    def compute(self) -> float:
        return frechet_distance(*self._sides)


def load_inception(weights: Path | None, device: torch.device) -> Callable[[Pixels], Vectors]:
    """Return the map from pixels in [-1, 1] to the features `n 2048` of the TensorFlow Inception-v3 that FID uses.

    The weights (arXiv 1706.08500, by torch-fidelity) come from a file or, without one, by download. Raises ValueError with
    one sentence when the package or the weights are missing.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise ValueError("rFID needs the package torch-fidelity: pip install '.[fid]' in vistok's checkout.") from None
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
    network = network.eval().requires_grad_(False).to(device)

    def features(pixels: Pixels) -> Vectors:
        bytes_ = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)  # what the network takes
        with torch.autocast(pixels.device.type, enabled=False):
            return network(bytes_)[0]

    return features


def frechet_distance(a: RunningCovariance, b: RunningCovariance) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of means m and unbiased covariances C (arXiv 1706.08500).

    Both must have been built with `full=True`. Waits for the device; the calculation is in float64 on the CPU, where
    tr (C_a C_b)^1/2 is the sum of the singular values of C_a^1/2 C_b^1/2. With fewer images than features the distance is
    biased upwards: compare only distances of equally many images. Raises ValueError for fewer than 2 images, features of
    different lengths, or values that are not finite.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"Features of {len(a.mean)} and of {len(b.mean)} values cannot be compared: use one backbone for both."
        )
    covariances = [_covariance(side) for side in (a, b)]
    common = torch.linalg.matrix_norm(_root(covariances[0]) @ _root(covariances[1]), ord="nuc")
    spread = covariances[0].trace() + covariances[1].trace() - 2 * common
    shift = a.mean.cpu().double() - b.mean.cpu().double()
    return max(0.0, float(shift.square().sum() + spread))


def _covariance(features: RunningCovariance) -> Tensor:
    count = int(features.count)
    if count < 2:
        raise ValueError(f"A Frechet distance needs at least 2 images, but got {count}: give more images.")
    scatter = features.scatter.cpu().double()
    if not scatter.isfinite().all():
        raise ValueError("Features hold values that are not finite: look for broken images or weights.")
    return scatter / (count - 1)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
