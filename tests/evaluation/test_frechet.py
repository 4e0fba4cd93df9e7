import math

import pytest
import torch

from vistok.evaluation.frechet import FeatureStatistics, feature_statistics, frechet_distance, merge_statistics


def vectors(number: int, length: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(length, length, generator=generator)
    return torch.randn(number, length, generator=generator) @ mixing + 3


def of(mean: list[float], covariance: torch.Tensor, number: int = 101) -> FeatureStatistics:
    return FeatureStatistics(number, torch.tensor(mean).double(), covariance.double() * (number - 1))


def test_statistics_are_the_mean_and_the_unbiased_covariance():
    features = vectors(50)
    statistics = feature_statistics(features)
    assert statistics.number == 50
    assert statistics.mean.dtype == statistics.covariance.dtype == torch.float64
    torch.testing.assert_close(statistics.mean, features.double().sum(dim=0) / 50)
    torch.testing.assert_close(statistics.covariance, torch.cov(features.double().T))


@pytest.mark.parametrize("parts", [[50], [1, 49], [1] * 50, [0, 20, 30], [7, 0, 13, 30]])
def test_any_split_gives_the_statistics_of_the_whole(parts):
    features = vectors(50)
    merged = feature_statistics(features[:0])
    for part in features.split(parts):
        merged = merge_statistics(merged, feature_statistics(part))
    whole = feature_statistics(features)
    assert merged.number == 50
    torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(merged.scatter, whole.scatter, rtol=1e-12, atol=1e-9)


def test_far_from_zero_nothing_is_lost():
    features = vectors(100).double()
    there = merge_statistics(feature_statistics(features[:30] + 1e6), feature_statistics(features[30:] + 1e6))
    torch.testing.assert_close(there.covariance, torch.cov(features.T), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("least", "tolerance"), [(0.5, 1e-12), (0.0, 1e-7)])
def test_covariances_that_commute_have_a_closed_form(least, tolerance):
    rotation, _ = torch.linalg.qr(vectors(3, 3).double())
    first, second = torch.tensor([4.0, 1.0, least]).double(), torch.tensor([9.0, 0.25, 2.0]).double()
    a = of([0, 0, 0], rotation @ torch.diag(first) @ rotation.T)
    b = of([1, 2, -2], rotation @ torch.diag(second) @ rotation.T)
    expected = 9 + float((first.sqrt() - second.sqrt()).square().sum())
    assert math.isclose(frechet_distance(a, b), expected, rel_tol=tolerance)


def test_covariances_that_do_not_commute_follow_the_eigenvalues_of_their_product():
    a, b = feature_statistics(vectors(40, seed=1)), feature_statistics(vectors(30, seed=2))
    eigenvalues = torch.linalg.eigvals(a.covariance @ b.covariance)
    common = float(eigenvalues.sqrt().real.sum())
    expected = float((a.mean - b.mean).square().sum() + (a.covariance + b.covariance).trace()) - 2 * common
    assert math.isclose(frechet_distance(a, b), expected, rel_tol=1e-10)
    assert math.isclose(frechet_distance(b, a), expected, rel_tol=1e-10)


@pytest.mark.parametrize("number", [5, 200])
def test_a_set_has_no_distance_from_itself(number):
    a = feature_statistics(vectors(number, 32))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10 * float(a.covariance.trace()))


def test_a_shift_is_its_squared_length():
    features = vectors(60).double()
    shift = torch.arange(6).double()
    distance = frechet_distance(feature_statistics(features), feature_statistics(features + shift))
    assert math.isclose(distance, 55, rel_tol=1e-10)


def test_sets_that_cannot_be_compared_are_refused():
    whole = feature_statistics(vectors(10))
    with pytest.raises(ValueError, match="The covariance of 1 images is not known: give 2 images at least"):
        frechet_distance(whole, feature_statistics(vectors(1)))
    with pytest.raises(ValueError, match="Features of 6 and of 5 values cannot be compared: use one backbone for both"):
        frechet_distance(whole, feature_statistics(vectors(10, 5)))
    with pytest.raises(ValueError, match="Features hold values that are not finite: look for broken images or weights"):
        frechet_distance(whole, feature_statistics(vectors(10) * torch.inf))
