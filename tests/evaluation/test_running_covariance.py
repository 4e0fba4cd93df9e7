"""RunningCovariance of batches against numpy on all vectors at once."""

import numpy as np
import pytest
import torch

from vistok.evaluation.running_covariance import MAX_CHANNELS, RunningCovariance, rank_note

CPU = torch.device("cpu")


def effective_rank(rows):
    covariance = np.cov(rows.astype(np.float64), rowvar=False, bias=True).reshape(rows.shape[1], -1)
    energies = np.linalg.eigvalsh(covariance).clip(0)
    fractions = energies[energies > 0] / energies.sum()
    return np.exp(-(fractions * np.log(fractions)).sum())


def as_latent(rows):
    return torch.from_numpy(np.asarray(rows, np.float32)).T[None, :, None]


def of(*batches):
    moments = RunningCovariance(batches[0].shape[1], CPU)
    for rows in batches:
        moments.add(as_latent(rows))
    return moments


@pytest.mark.parametrize("channels", [1, 2, 8, 40])
@pytest.mark.parametrize("offset", [0.0, 3.0, 1000.0])
def test_batches_amount_to_the_whole(channels, offset):
    rng = np.random.default_rng(channels)
    rows = (rng.normal(size=(500, channels)) @ rng.normal(size=(channels, channels)) + offset).astype(np.float32)
    moments = of(rows[:7], rows[7:8], rows[8:8], rows[8:300], rows[300:])
    assert moments.effective_rank() == pytest.approx(effective_rank(rows), rel=1e-5)
    assert moments.variance() == pytest.approx(rows.astype(np.float64).var(axis=0).mean(), rel=1e-5)
    np.testing.assert_allclose(moments.mean.numpy(), rows.astype(np.float64).mean(axis=0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("directions", [1, 2, 3, 8])
def test_equal_variance_in_some_directions_is_their_number(directions):
    rng = np.random.default_rng(directions)
    frame = np.linalg.qr(rng.normal(size=(8, 8)))[0][:directions]
    rows = np.concatenate([np.eye(directions), -np.eye(directions)]) @ frame + 5
    assert of(rows).effective_rank() == pytest.approx(directions, rel=1e-4)
    assert of(rows * 1e-4).effective_rank() == pytest.approx(directions, rel=1e-2)  # 5e-4 is the offset then
    assert of(rows * 1e8).effective_rank() == pytest.approx(directions, rel=1e-4)


def test_nothing_that_varies_is_rank_zero():
    assert of(np.full((50, 4), 3.3)).effective_rank() == 0
    empty = RunningCovariance(4, CPU)
    assert empty.effective_rank() == 0 and empty.variance() == 0
    empty.add(torch.zeros(0, 4, 2, 2))
    assert empty.effective_rank() == 0


def test_vectors_that_are_not_finite_end_nothing():
    assert np.isnan(of(np.array([[1.0, 2.0], [np.inf, 0.0]])).effective_rank())


def test_the_matrix_is_bounded():
    moments = RunningCovariance(1 << 15, CPU)
    rows = np.random.default_rng(0).normal(size=(20, 1 << 15))
    moments.add(as_latent(rows))
    assert moments.scatter.shape == (1 << 15,) and moments.effective_rank() is None
    assert moments.variance() == pytest.approx(rows.var(axis=0).mean(), rel=1e-4)
    assert RunningCovariance(MAX_CHANNELS, CPU).scatter.shape == (MAX_CHANNELS,) * 2
    assert rank_note(MAX_CHANNELS) == ""
    assert rank_note(1 << 15) == "The effective rank is not measured: 32,768 channels are more than 1,024."


def _asked(moments, known):
    """Return the first sum that a process asks for beyond those that are known."""
    given, asked = iter(known), []

    def add(value):
        answer = next(given, None)
        if answer is None:
            asked.append(value)
        return value if answer is None else answer

    moments.reduced(add)
    return asked[0]


def test_processes_amount_to_the_whole():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(size, 5)) * scale + shift for size, scale, shift in ((30, 1, 0), (70, 3, 50), (0, 1, 0))]
    each = [of(rows) for rows in parts]
    sums: list[torch.Tensor] = []
    while len(sums) < 3:  # each sum needs those before it
        sums.append(sum(_asked(moments, sums) for moments in each))
    given = iter(sums)
    total = each[0].reduced(lambda value: next(given))
    whole = np.concatenate(parts)
    assert float(total.count) == 100
    assert total.effective_rank() == pytest.approx(effective_rank(whole), rel=1e-5)
    assert total.variance() == pytest.approx(whole.var(axis=0).mean(), rel=1e-5)


def test_a_state_goes_on_where_it_was_and_clearing_forgets():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    first, second = of(rows[:20]), RunningCovariance(3, CPU)
    second.load({name: value.clone() for name, value in first.state().items()})
    second.add(as_latent(rows[20:]))
    assert second.effective_rank() == of(rows[:20], rows[20:]).effective_rank()
    first.clear()
    assert first.effective_rank() == 0 and float(first.count) == 0
