"""The Frechet distance against closed forms, and against torchmetrics where that is precise."""

import math

import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from vistok.evaluation.frechet import frechet_distance
from vistok.evaluation.running_covariance import RunningCovariance

CPU = torch.device("cpu")


def vectors(number: int, length: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(length, length, generator=generator)
    return torch.randn(number, length, generator=generator) @ mixing + 3


def statistics(features: torch.Tensor, parts: list[int] | None = None) -> RunningCovariance:
    running = RunningCovariance(features.shape[1], CPU, full=True)
    for part in features.double().split(parts or [len(features)]):
        running.add_vectors(part)
    return running


def of(mean: list[float], covariance: torch.Tensor, count: int = 101) -> RunningCovariance:
    running = RunningCovariance(len(mean), CPU, full=True)
    scatter = covariance.double() * (count - 1)
    running.load({"count": torch.tensor(count), "mean": torch.tensor(mean), "scatter": scatter})
    return running


def covariance(running: RunningCovariance) -> torch.Tensor:
    return running.scatter / (running.count - 1)


@pytest.mark.parametrize("parts", [[50], [1, 49], [1] * 50, [0, 20, 30], [7, 0, 13, 30]])
def test_statistics_do_not_depend_on_the_batches(parts):
    features, merged = vectors(50), statistics(vectors(50), parts)
    assert int(merged.count) == 50
    torch.testing.assert_close(merged.mean, features.double().sum(dim=0) / 50, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(covariance(merged), torch.cov(features.double().T), rtol=1e-12, atol=1e-9)


def test_far_from_zero_nothing_is_lost():
    features = vectors(100).double()
    there = statistics(features + 1e6, [30, 70])
    torch.testing.assert_close(covariance(there), torch.cov(features.T), rtol=1e-8, atol=1e-8)


def test_more_features_than_the_effective_rank_is_measured_for_keep_their_covariance():
    features = vectors(20, 1100)
    torch.testing.assert_close(covariance(statistics(features)), torch.cov(features.double().T))


class Identity(torch.nn.Module):
    num_features = 6

    def forward(self, features):
        return features.double()


def test_with_many_images_torchmetrics_agrees():
    first, second = vectors(400, seed=1), vectors(300, seed=2)
    metric = FrechetInceptionDistance(feature=Identity())
    metric.update(first, real=True)
    metric.update(second, real=False)
    assert frechet_distance(statistics(first), statistics(second)) == pytest.approx(float(metric.compute()), rel=1e-8)


@pytest.mark.parametrize(("smallest", "tolerance"), [(0.5, 1e-12), (0.0, 1e-7)])
def test_covariances_that_commute_have_a_closed_form(smallest, tolerance):
    rotation, _ = torch.linalg.qr(vectors(3, 3).double())
    first, second = torch.tensor([4.0, 1.0, smallest]).double(), torch.tensor([9.0, 0.25, 2.0]).double()
    a = of([0, 0, 0], rotation @ torch.diag(first) @ rotation.T)
    b = of([1, 2, -2], rotation @ torch.diag(second) @ rotation.T)
    expected = 9 + float((first.sqrt() - second.sqrt()).square().sum())
    assert math.isclose(frechet_distance(a, b), expected, rel_tol=tolerance)


def test_covariances_that_do_not_commute_follow_the_eigenvalues_of_their_product():
    a, b = statistics(vectors(40, seed=1)), statistics(vectors(30, seed=2))
    eigenvalues = torch.linalg.eigvals(covariance(a) @ covariance(b))
    common = float(eigenvalues.sqrt().real.sum())
    expected = float((a.mean - b.mean).square().sum() + (covariance(a) + covariance(b)).trace()) - 2 * common
    assert math.isclose(frechet_distance(a, b), expected, rel_tol=1e-10)
    assert math.isclose(frechet_distance(b, a), expected, rel_tol=1e-10)


@pytest.mark.parametrize("number", [5, 200])
def test_a_set_has_no_distance_from_itself(number):
    a = statistics(vectors(number, 32))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10 * float(covariance(a).trace()))


def test_a_shift_is_its_squared_length():
    features = vectors(60).double()
    shift = torch.arange(6).double()
    distance = frechet_distance(statistics(features), statistics(features + shift))
    assert math.isclose(distance, 55, rel_tol=1e-10)


def test_sets_that_cannot_be_compared_are_refused():
    whole = statistics(vectors(10))
    with pytest.raises(ValueError, match="A Frechet distance needs at least 2 images, but got 1: give more images"):
        frechet_distance(whole, statistics(vectors(1)))
    with pytest.raises(ValueError, match="Features of 6 and of 5 values cannot be compared: use one backbone for both"):
        frechet_distance(whole, statistics(vectors(10, 5)))
    with pytest.raises(ValueError, match="Features hold values that are not finite: look for broken images or weights"):
        frechet_distance(whole, statistics(vectors(10) * torch.inf))
