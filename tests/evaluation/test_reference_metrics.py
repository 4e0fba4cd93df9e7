"""Reference metrics by themselves."""

import numpy as np
import pytest
import torch

from samples import noise_image
from vistok.evaluation.frechet import FrechetMetric
from vistok.evaluation.reference_metrics import PerceptualMetric, ReferenceMetrics
from vistok.images.preprocessing import stack_pixels

CPU = torch.device("cpu")


def test_the_perceptual_distance_is_the_mean_over_images_of_any_size():
    def distance(a, b):
        return (a - b).abs().mean(dim=(1, 2, 3))

    class Distance(torch.nn.Module):
        def forward(self, a, b):
            return distance(a, b)

    pairs = [[stack_pixels([np.asarray(noise_image(8, 8 + n, seed))]) for seed in (n, 50 + n)] for n in range(5)]
    metric = PerceptualMetric(Distance(), CPU)
    for pair in pairs:
        metric.update(*pair)
    assert metric.compute() == pytest.approx(np.mean([float(distance(*pair)) for pair in pairs]))


def test_the_frechet_distance_does_not_depend_on_the_sizes_in_between():
    features = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    pairs = [[stack_pixels([np.asarray(noise_image(8, 8 + n % 2, s))]) for s in (n, 90 + n)] for n in range(40)]

    def figure(ordered):
        metric = FrechetMetric(features)
        for pair in ordered:
            metric.update(*pair)
        return metric.compute()

    assert figure(pairs) == pytest.approx(figure(sorted(pairs, key=lambda pair: pair[0].shape[2])), rel=1e-6)


class Picky:
    """A metric that refuses whatever it gets, at once or in the end."""

    def __init__(self, at_once):
        self.at_once = at_once

    def update(self, original, reconstruction):
        if self.at_once:
            raise ValueError("too small")

    def compute(self):
        raise ValueError("too few")


class Constant(Picky):
    def compute(self):
        return 5.0


def test_a_metric_that_cannot_measure_is_dropped_with_its_reason():
    metrics = ReferenceMetrics({"a": Picky(True), "b": Constant(False), "c": Picky(False)}, {"d": "no weights"})
    for _ in range(2):
        metrics.update(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    assert metrics.compute() == {"b": 5.0}
    assert metrics.not_measured == {"a": "too small", "c": "too few", "d": "no weights"}


def test_metrics_that_cannot_apply_are_not_measured_for_one_reason():
    metrics = ReferenceMetrics({"lpips": object()}, {"rfid": "No weights."}).not_measured_for("There is no decoder.")
    assert metrics.compute() == {}
    assert metrics.not_measured == {"lpips": "There is no decoder.", "rfid": "There is no decoder."}
