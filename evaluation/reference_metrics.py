"""Metrics that need a frozen network: LPIPS, rFID, and the Frechet distance over any timm backbone."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..perception.backbones import BackboneConfig, load_backbone
from ..perception.distance import PerceptualConfig, build_perceptual
from ..tokenizer.devices import widest_float
from ..tokenizer.shapes import Pixels
from .frechet import FrechetMetric, load_inception
from .rows import FRECHET


class ReferenceMetric(Protocol):
    """Accumulates over batches of images and their reconstructions, `b c h w` in [-1, 1], on the device it was built for."""

    def update(self, original: Pixels, reconstruction: Pixels) -> None:
        """Add a batch of pairs; raise ValueError when they cannot be measured."""

    def compute(self) -> float:
        """Return the value over all pairs; raise ValueError when there is none."""


class PerceptualMetric:
    """The mean over images of a perceptual distance."""

    def __init__(self, distance: nn.Module, device: torch.device):
        from torchmetrics import MeanMetric  # late: takes a second to import

        self._distance = distance.to(device)
        self._mean = MeanMetric(nan_strategy="disable").set_dtype(widest_float(device)).to(device)

    @torch.inference_mode()
    def update(self, original: Pixels, reconstruction: Pixels) -> None:
        self._mean.update(self._distance(original, reconstruction))

    def compute(self) -> float:
        return float(self._mean.compute())


class ReferenceMetrics:
    """Metrics by name. One that raises ValueError is dropped with its reason, which torchmetrics' collection cannot do."""

    def __init__(self, metrics: Mapping[str, ReferenceMetric], not_measured: Mapping[str, str]):
        self._metrics = dict(metrics)
        self.not_measured = dict(not_measured)
        """Reasons by the name of the metric."""

    def not_measured_for(self, reason: str) -> "ReferenceMetrics":
        """Return the same metrics, none of which will be measured, for one reason."""
        return ReferenceMetrics({}, dict.fromkeys([*self._metrics, *self.not_measured], reason))

    def update(self, original: Pixels, reconstruction: Pixels) -> None:
        """Add a batch of pairs to every metric."""
        self._each(lambda metric: metric.update(original, reconstruction))

    def compute(self) -> dict[str, float]:
        """Return the values of the metrics that were not dropped, by name."""
        return self._each(lambda metric: metric.compute())

    def _each(self, call: Callable[[ReferenceMetric], Any]) -> dict[str, Any]:
        results = {}
        for name, metric in list(self._metrics.items()):
            try:
                results[name] = call(metric)
            except ValueError as error:
                self.not_measured[name] = str(error)
                del self._metrics[name]
        return results


def build_reference_metrics(
    frechet: Sequence[str],
    lpips_weights: Path | None,
    inception_weights: Path | None,
    device: torch.device,
    unavailable: Mapping[str, str],
) -> ReferenceMetrics:
    """Build LPIPS and rFID where their weights are available, and the Frechet distances that were asked for.

    `frechet` names timm models, as NAME or NAME=FILE with a file of weights; `unavailable` gives reasons, by name, not to
    try a metric. Raises ValueError when a model that was named or a file that was given cannot be loaded.
    """
    not_measured = dict(unavailable)
    metrics: dict[str, ReferenceMetric] = {}

    def lpips() -> ReferenceMetric:
        remedy = "give the file of torchvision's vgg16 weights as --lpips-weights"
        return PerceptualMetric(build_perceptual(PerceptualConfig(weights=lpips_weights), remedy), device)

    def rfid() -> ReferenceMetric:
        return FrechetMetric(load_inception(inception_weights, device))

    for name, build, file in (("lpips", lpips, lpips_weights), ("rfid", rfid, inception_weights)):
        try:
            if name not in unavailable:
                metrics[name] = build()
        except ValueError as error:
            if file is not None:
                raise
            not_measured[name] = str(error)
    for text in frechet:
        model, _, weights = text.partition("=")
        config = BackboneConfig(name=model, weights=Path(weights) if weights else None)
        if FRECHET + model in metrics:
            raise ValueError(f"--frechet names {model} twice: give it once, and measure other weights by themselves.")
        backbone = load_backbone(config, f"give its weights as --frechet {model}=FILE").to(device)
        metrics[FRECHET + model] = FrechetMetric(backbone.pooled)
    return ReferenceMetrics(metrics, not_measured)
