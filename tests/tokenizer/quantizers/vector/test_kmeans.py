"""k-means against NumPy, and its starts against what far clusters allow."""

import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers.vector import kmeans as module
from vistok.tokenizer.quantizers.vector.kmeans import far_starts, kmeans


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def distortion(vectors, centres):
    """Return the mean squared distance a channel, in float64."""
    x, c = vectors.double().numpy(), centres.double().numpy()
    return np.mean([((row - c) ** 2).mean(axis=1).min() for row in x])


def clusters(count, each, dim, seed):
    """Return vectors of unit variance around far places, in any order."""
    draw = generator(seed)
    places = torch.randn(count, dim, generator=draw) * 30
    vectors = places.repeat_interleave(each, dim=0) + torch.randn(count * each, dim, generator=draw)
    return vectors[torch.randperm(len(vectors), generator=draw)]


@pytest.mark.parametrize("seed", range(12))
def test_eight_far_clusters_are_found_whatever_the_seed(seed):
    vectors = clusters(8, 60, 4, seed)
    assert distortion(vectors, kmeans(vectors, 8, 5, generator(seed))) < 1.1


def test_a_cluster_near_the_first_start_is_found_among_far_ones():
    places = torch.tensor([[0.0], [10.0], [-300.0], [-200.0], [-100.0], [100.0], [200.0], [300.0]])
    for seed in range(20):
        vectors = places.repeat_interleave(60, dim=0) + torch.randn(480, 1, generator=generator(seed))
        assert distortion(vectors, kmeans(vectors, 8, 5, generator(seed))) < 2, f"seed {seed}"


def test_of_many_far_clusters_hardly_one_is_missed():
    vectors = clusters(200, 20, 8, 0)
    assert distortion(vectors, kmeans(vectors, 200, 5, generator())) < 2
    assert distortion(vectors, vectors[:200]) > 20, "where random starts are"


def test_starts_are_vectors_and_far_apart_in_the_mean():
    vectors = torch.randn(4000, 4, generator=generator(1))
    starts = far_starts(vectors, 256, generator())
    assert (starts.unsqueeze(1) == vectors).all(dim=2).any(dim=1).all()
    assert len(starts.unique(dim=0)) == 256
    assert distortion(vectors, starts) < 0.95 * distortion(vectors, vectors[:256])


def test_the_second_start_is_drawn_by_squared_distance(monkeypatch):
    # From 0, the points 1 and 3 have 1 and 9 tenths of the sum of squares; one trial is plain k-means++.
    monkeypatch.setattr(module, "TRIALS", 1)
    vectors = torch.tensor([[0.0], [1.0], [3.0]])
    squared = vectors.square().sum(dim=1)
    drawn = torch.cat([module._further(vectors, squared, 1, generator(seed)) for seed in range(300)])
    assert (drawn == 3).float().mean() == pytest.approx(0.9, abs=0.06)
    assert not (drawn == 0).any()


def test_never_gets_worse_and_leaves_no_code_empty():
    vectors = torch.randn(400, 3, generator=generator(3))
    found = [distortion(vectors, kmeans(vectors, 20, steps, generator())) for steps in (1, 3, 10)]
    assert found == sorted(found, reverse=True)
    assert torch.cdist(vectors, kmeans(vectors, 20, 10, generator())).argmin(1).unique().numel() == 20


def test_a_step_is_the_mean_in_float64_whatever_the_order():
    vectors = torch.randn(500, 3, generator=generator(4)) * 1e3
    first = kmeans(vectors, 8, 1, generator())
    start = far_starts(vectors, 8, generator())
    indices = (vectors.double().unsqueeze(1) - start.double()).square().sum(dim=2).argmin(dim=1)
    expected = torch.stack([vectors.double()[indices == code].mean(dim=0) for code in range(8)])
    assert torch.equal(first, expected.float())
    assert torch.equal(first, kmeans(vectors, 8, 1, generator()))


def test_an_empty_cluster_moves_to_a_far_vector(monkeypatch):
    vectors = torch.cat([torch.randn(200, 2), torch.randn(5, 2) + 1000])
    monkeypatch.setattr(module, "far_starts", lambda scaled, *_: scaled[:1].repeat(2, 1))
    moved = kmeans(vectors, 2, 1, generator())[1]
    assert (moved > 900).all(), "the second of two equal centres has no vectors"


@pytest.mark.parametrize("distinct", [1, 5])
def test_fewer_distinct_vectors_than_clusters(distinct):
    places = torch.randn(distinct, 3, generator=generator(5))
    vectors = places.repeat(40, 1)
    centres = kmeans(vectors, 12, 3, generator())
    assert centres.shape == (12, 3) and distortion(vectors, centres) < 1e-12
    assert len(centres.unique(dim=0)) == distinct


def test_vectors_that_are_not_finite_do_not_count():
    vectors = torch.randn(100, 3, generator=generator(6))
    broken = torch.cat([vectors, torch.tensor([[torch.nan, 0, 0], [torch.inf, 0, 0]])])
    assert torch.equal(kmeans(broken, 9, 3, generator()), kmeans(vectors, 9, 3, generator()))


def test_too_few_vectors_are_refused():
    with pytest.raises(ValueError, match="k-means got 3 vectors for 4 codes"):
        kmeans(torch.randn(3, 2), 4, 1, generator())


def test_memory_of_the_starts_is_bounded(monkeypatch):
    shapes, cdist = [], torch.cdist
    monkeypatch.setattr(
        torch, "cdist", lambda a, b, **options: shapes.append((len(a), len(b))) or cdist(a, b, **options)
    )
    far_starts(torch.randn(20_000, 2), 600, generator())
    assert max(a * b for a, b in shapes) <= module.TRIALS * module.MIN_CANDIDATES


@pytest.mark.parametrize("exponent", [-100, -60, 60, 100])
def test_centres_are_the_same_at_every_scale(exponent):
    vectors = clusters(8, 30, 4, seed=2)
    expected = kmeans(vectors, 8, 10, generator())
    assert torch.equal(kmeans(vectors * 2.0**exponent, 8, 10, generator()), expected * 2.0**exponent)
