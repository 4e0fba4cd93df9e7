"""Balanced assignment: against enumeration, against Sinkhorn's algorithm on the whole plan, and within a quantizer."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers import build_quantizer, entropy
from vistok.tokenizer.quantizers.search.nearest import nearest_codes, scores
from vistok.tokenizer.quantizers.vector.sinkhorn import SinkhornConfig, balanced_codes

EUCLIDEAN = partial(scores, similarity="euclidean")
EXACT = SinkhornConfig(epsilon=5e-3, iterations=1000)


def problem(seed, vectors, codes, dim=2, offset=1.5):
    """Latents that lie beside the codes, so that the nearest codes are few."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(vectors, dim, generator=generator) + offset, torch.randn(codes, dim, generator=generator)


@pytest.mark.parametrize("seed", range(4))
def test_with_little_entropy_the_choice_is_the_best_balanced_one(seed):
    """The plan of least cost gives every code n / k whole vectors; all 90 ways to do that are tried."""
    vectors, codes = problem(seed, 6, 3)
    costs = torch.cdist(vectors.double(), codes.double()).square().numpy()
    choices = set(itertools.permutations([0, 0, 1, 1, 2, 2]))
    best = min(choices, key=lambda choice: sum(costs[row, code] for row, code in enumerate(choice)))
    found = balanced_codes(vectors, codes, EUCLIDEAN, EXACT)
    assert tuple(found.tolist()) == best
    assert len(nearest_codes(vectors, codes).unique()) < 3 or best != tuple(nearest_codes(vectors, codes).tolist())


def plan(vectors, codes, config):
    """Sinkhorn's algorithm as the paper has it, on the whole plan in float64."""
    cost = np.square(vectors[:, None] - codes[None]).sum(-1)
    cost = cost - cost.mean(0) - cost.mean(1, keepdims=True) + cost.mean()
    kernel = np.exp(-cost / (config.epsilon * cost.std()))
    for _ in range(config.iterations):
        kernel = kernel / kernel.sum(1, keepdims=True) / len(vectors)
        kernel = kernel / kernel.sum(0, keepdims=True) / len(codes)
    return kernel / kernel.sum(1, keepdims=True)


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.1, 5), (0.1, 1), (1.0, 20)])
def test_the_choice_is_the_max_of_the_plan(epsilon, iterations):
    vectors, codes = problem(0, 300, 12, dim=4)
    config = SinkhornConfig(epsilon=epsilon, iterations=iterations)
    masses = plan(vectors.double().numpy(), codes.double().numpy(), config)
    top = np.sort(masses, axis=1)
    clear = top[:, -1] > top[:, -2] * 1.001
    assert clear.mean() > 0.98
    found = balanced_codes(vectors, codes, EUCLIDEAN, config).numpy()
    assert (found == masses.argmax(axis=1))[clear].all()


def test_codes_get_the_same_number_of_vectors_however_far_they_are():
    vectors, codes = problem(0, 640, 16, dim=4, offset=0.0)
    codes = codes * 1e-3 + 40  # nearly one point, far from all latents
    counts = torch.bincount(balanced_codes(vectors, codes, EUCLIDEAN, SinkhornConfig(epsilon=0.02, iterations=300)))
    assert counts.tolist() == pytest.approx([40] * 16, abs=4)
    few = balanced_codes(vectors, codes, EUCLIDEAN, SinkhornConfig())
    assert len(few.unique()) == 16 > len(nearest_codes(vectors, codes).unique())


@pytest.mark.parametrize("similarity", ["euclidean", "cosine", "dot"])
def test_chunks_change_nothing(monkeypatch, similarity):
    vectors, codes = problem(1, 100, 7)
    scored = partial(scores, similarity=similarity)
    whole = balanced_codes(vectors, codes, scored, SinkhornConfig())
    sizes = []

    def noted(rows, table):
        sizes.append(rows.shape[0] * table.shape[0])
        return scored(rows, table)

    monkeypatch.setattr(entropy, "SCORES_AT_ONCE", 70)
    assert torch.equal(balanced_codes(vectors, codes, noted, SinkhornConfig(iterations=5)), whole)
    assert max(sizes) == 70 and len(sizes) == 10 * (5 + 3)


@pytest.mark.parametrize("epsilon", [1e-12, 1e6])
def test_no_epsilon_overflows(epsilon):
    vectors, codes = problem(2, 50, 5)
    for table in (codes, torch.ones_like(codes), codes * 1e15):
        found = balanced_codes(vectors, table, EUCLIDEAN, SinkhornConfig(epsilon=epsilon, iterations=7))
        assert found.min() >= 0 and found.max() < 5
    vectors[0], vectors[1] = torch.nan, torch.inf
    rest = balanced_codes(vectors, codes, EUCLIDEAN, SinkhornConfig())
    assert rest.shape == (50,) and len(rest[2:].unique()) == 5
    assert balanced_codes(vectors[:0], codes, EUCLIDEAN, SinkhornConfig()).shape == (0,)


def test_the_device_is_not_waited_for():
    """Tensors without values can be assigned: no value decides what is done."""
    vectors, codes = (torch.empty(count, 4, device="meta") for count in (500, 50))
    assert balanced_codes(vectors, codes, EUCLIDEAN, SinkhornConfig()).shape == (500,)


def test_training_balances_and_evaluation_takes_the_nearest():
    values = {"name": "vq", "dim": 4, "codebook_size": 32, "initial_scale": 1e-3, "sinkhorn": {}}
    quantizer = build_quantizer(values)
    latent = torch.randn(2, 4, 16, 16)
    trained = quantizer(latent)
    assert len(trained.tokens.unique()) == 32
    assert torch.equal(quantizer.lookup(trained.tokens), trained.latent)
    rows = latent.permute(0, 2, 3, 1).reshape(-1, 4)
    chosen = quantizer.codes()[trained.tokens.flatten()]
    assert torch.allclose(trained.losses["codebook"], (rows - chosen).square().mean())
    quantizer.eval()
    assert torch.equal(quantizer(latent).tokens.flatten(), nearest_codes(rows, quantizer.codes()))
    config, _ = quantizer.for_inference()
    assert config.sinkhorn is None


def test_a_codebook_in_one_point_spreads_over_latents_far_from_it():
    """Plain averages move the few codes that are nearest; with balanced choices all move, and the distortion falls."""
    latent = torch.randn(1, 4, 1, 1024, generator=torch.Generator().manual_seed(0)) + 2
    used, distortion = [], []
    for more in ({}, {"sinkhorn": {}}):
        torch.manual_seed(0)
        size = {"dim": 4, "codebook_size": 64}
        quantizer = build_quantizer({"name": "ema", **size, "initial_scale": 1e-3, "decay": 0.8, **more})
        for _ in range(40):
            quantizer(latent)
        result = quantizer.eval()(latent)
        used.append(len(result.tokens.unique()))
        distortion.append(float((result.latent - latent).square().mean()))
    assert used[0] < 32 and used[1] == 64
    assert distortion[1] < 0.6 * distortion[0]


@pytest.mark.parametrize("exponent", [-60, -30, 30, 60])
def test_the_choice_is_the_same_at_every_scale(exponent):
    vectors, codes = problem(0, 60, 12)
    score, config = partial(scores, similarity="euclidean"), SinkhornConfig(epsilon=0.3, iterations=20)
    found = balanced_codes(vectors * 2.0**exponent, codes * 2.0**exponent, score, config)
    assert torch.equal(found, balanced_codes(vectors, codes, score, config))
