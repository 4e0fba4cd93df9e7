import math

import numpy as np
import pytest
import torch

from vistok.tokenizer.decoders.noise import KEPT, check_seed, seeded_noise

CPU = torch.device("cpu")


def test_it_is_the_transform_of_box_and_muller_of_the_stream_of_philox():
    count = 3 * 5 * 7
    pairs = (count + 1) // 2
    raw = [int(value) for value in np.random.Philox(key=9).random_raw(2 * pairs)]
    uniform = [((value >> 11) + 0.5) / 2**53 for value in raw]
    expected = [
        math.sqrt(-2 * math.log(uniform[index % pairs])) * wave(2 * math.pi * uniform[pairs + index % pairs])
        for index, wave in zip(range(count), [math.cos] * pairs + [math.sin] * pairs, strict=False)
    ]
    noise = seeded_noise(9, (3, 5, 7), CPU)
    assert noise.dtype == torch.float32 and noise.shape == (3, 5, 7)
    np.testing.assert_allclose(noise.flatten().numpy(), expected, rtol=1e-6, atol=1e-7)


def test_its_first_numbers_are_those_of_every_release():
    expected = [2.2844414710998535, -1.5494507551193237, 1.9245853424072266, -0.6637518405914307]
    np.testing.assert_allclose(seeded_noise(0, (1, 2, 2), CPU).flatten().numpy(), expected, rtol=1e-6)


def test_it_is_normal():
    noise = seeded_noise(1, (3, 200, 200), CPU).double()
    assert abs(noise.mean()) < 4 / math.sqrt(noise.numel())
    assert abs(noise.square().mean() - 1) < 4 * math.sqrt(2 / noise.numel())
    assert abs(noise.pow(4).mean() - 3) < 0.1
    assert abs((noise[..., 1:] * noise[..., :-1]).mean()) < 4 / math.sqrt(noise.numel())
    assert noise.abs().max() < 6


def test_seeds_differ_and_the_largest_is_allowed():
    noises = [seeded_noise(seed, (1, 4, 4), CPU) for seed in (0, 1, 2**32, 2**63 - 1)]
    assert check_seed(np.int64(5)) == 5
    assert len({tuple(noise.flatten().tolist()) for noise in noises}) == len(noises)


def test_noise_that_is_kept_and_noise_that_is_not_are_the_same():
    side = 2 * math.isqrt(KEPT)
    once, again = (seeded_noise(2, (1, side, side), CPU) for _ in range(2))
    assert torch.equal(once, again)
    with torch.inference_mode():
        kept = seeded_noise(3, (1, 2, 2), CPU)
    assert not seeded_noise(3, (1, 2, 2), CPU).is_inference() and kept.is_inference()


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True, "0", None])
def test_other_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"seed is .*, but must be a whole number from 0 to 2\*\*63 - 1\."):
        check_seed(seed)
