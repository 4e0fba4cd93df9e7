"""The spread of samples, computed again, and its alarms."""

import pytest
import torch
from accelerate import Accelerator

from vistok.tokenizer.decoders.noise import seeded_noise
from vistok.train.generative.spread import NO_SPREAD, OVER, RECENT, SpreadWatch
from vistok.train.opponent import Made


class Painter(torch.nn.Module):
    """A decoder that adds so much noise, and a constant, to the plain answer."""

    def __init__(self, noise=0.0, shift=0.0):
        super().__init__()
        self.noise, self.shift = noise, shift

    def noise_shape(self, height, width):
        return 3, height, width

    def forward(self, codes, base, noise):
        assert not self.training and codes.shape[0] == base.shape[0] == noise.shape[0]
        return base + self.noise * noise + self.shift


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images, base = (torch.rand(3, 3, 16, 24, generator=generator) * 2 - 1 for _ in range(2))
    return images, Made(base, torch.zeros(3, 4, 2, 3), base)


def test_it_is_the_deviation_over_two_seeds_and_the_size_of_the_residual(batch):
    images, made = batch
    watch = SpreadWatch(Painter(0.3, 0.1).train(), "less", Accelerator())
    values, alarms = watch.measure(images, made)
    zero, one = (seeded_noise(seed, (3, 16, 24), torch.device("cpu")).double() for seed in (0, 1))
    true = float((images.double() - made.base.double()).square().mean().sqrt())
    deviation = torch.stack([0.3 * zero, 0.3 * one]).var(dim=0).mean().sqrt()
    assert values["spread/seeds"] == pytest.approx(float(deviation) / true, rel=1e-5)
    painted = (0.3 * zero + 0.1).square().mean().sqrt()
    assert values["spread/residual"] == pytest.approx(float(painted) / true, rel=1e-5)
    assert alarms == [] and watch._decoder.training


def alarms_of(watch, batch, painter, noise, shift=0.0):
    painter.noise, painter.shift = noise, shift
    return [sentence for _ in range(RECENT) for sentence in watch.measure(*batch).alarms]


def test_a_fall_is_a_collapse_and_a_small_start_is_not(batch):
    painter = Painter()
    watch = SpreadWatch(painter, "this", Accelerator())
    for noise in (0.01, 0.5, 0.3, 0.2):
        assert not alarms_of(watch, batch, painter, noise), noise
    (sentence,) = alarms_of(watch, batch, painter, 0.02)
    assert sentence.startswith("samples of different seeds are nearly the same (spread/seeds is 0.")
    assert sentence.endswith(", after 0.50): the decoder collapses; try this.")
    assert not alarms_of(watch, batch, painter, 0.02), "a finding is reported when it begins"
    again = SpreadWatch(painter, "this", Accelerator())
    again.load_state_dict(watch.state_dict())
    assert again.state_dict() == watch.state_dict()
    for _ in range(OVER):
        assert not alarms_of(watch, batch, painter, 0.5)
    assert alarms_of(watch, batch, painter, 0.02), "and again after it was over"


def test_one_batch_is_no_collapse(batch):
    painter = Painter()
    watch = SpreadWatch(painter, "this", Accelerator())
    assert not alarms_of(watch, batch, painter, 0.5)
    painter.noise = 0.0
    assert not watch.measure(*batch).alarms


def test_too_much_paint_is_a_runaway(batch):
    painter = Painter()
    (sentence,) = alarms_of(SpreadWatch(painter, "that", Accelerator()), batch, painter, 0.0, 3.0)
    assert "times as much as the plain answers lack (spread/residual): it runs away; try that." in sentence


def test_values_that_are_not_finite_are_left_out(batch):
    images, made = batch
    watch = SpreadWatch(Painter(float("nan")), "that", Accelerator())
    assert watch.measure(images, made) == NO_SPREAD
    assert SpreadWatch(Painter(0.1), "that", Accelerator()).measure(made.base, made) == NO_SPREAD
