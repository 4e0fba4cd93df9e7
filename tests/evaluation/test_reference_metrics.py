"""Judges by themselves."""

import numpy as np
import pytest
import torch

from samples import noise_image
from vistok.evaluation.reference_metrics import FrechetJudge, Jury, PerceptualJudge
from vistok.images.preprocessing import stack_pixels

CPU = torch.device("cpu")


def test_a_perceptual_figure_is_the_mean_over_images_of_any_size():
    def distance(a, b):
        return (a - b).abs().mean(dim=(1, 2, 3))

    class Distance(torch.nn.Module):
        def forward(self, a, b):
            return distance(a, b)

    pairs = [[stack_pixels([np.asarray(noise_image(8, 8 + n, seed))]) for seed in (n, 50 + n)] for n in range(5)]
    judge = PerceptualJudge("p", Distance(), CPU)
    for pair in pairs:
        judge.look(*pair)
    assert judge.figure() == pytest.approx(np.mean([float(distance(*pair)) for pair in pairs]))


def test_a_frechet_figure_does_not_depend_on_the_sizes_in_between():
    features = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    pairs = [[stack_pixels([np.asarray(noise_image(8, 8 + n % 2, s))]) for s in (n, 90 + n)] for n in range(40)]

    def figure(ordered):
        judge = FrechetJudge("f", features, CPU)
        for pair in ordered:
            judge.look(*pair)
        return judge.figure()

    assert figure(pairs) == pytest.approx(figure(sorted(pairs, key=lambda pair: pair[0].shape[2])), rel=1e-6)


def test_a_judge_that_cannot_judge_leaves_the_jury():
    class Picky:
        name = "picky"

        def look(self, original, reconstruction):
            raise ValueError("too small")

    jury = Jury([Picky()])
    jury.look(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    jury.look(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    assert jury.figures() == {} and jury.dropped == {"picky": "too small"}
