import math

import pytest
import torch

from vistok.evaluation.metrics import distortion, psnr, ssim


def test_psnr_is_that_of_a_range_of_two():
    pixels = torch.zeros(2, 3, 16, 16)
    assert psnr(pixels, pixels + torch.tensor([0.2, 0.02]).reshape(2, 1, 1, 1)).tolist() == pytest.approx(
        [20, 40], abs=1e-3
    )


def test_psnr_clamps_the_reconstruction_as_a_image_would():
    white = torch.ones(1, 3, 8, 8)
    assert psnr(white, white * 5).isinf().all()
    assert float(psnr(white, white * -5)) == pytest.approx(10 * math.log10(1))


def test_ssim_is_one_for_equal_images_and_less_for_noise():
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    assert ssim(pixels, pixels).tolist() == pytest.approx([1, 1])
    assert (ssim(pixels, torch.rand(2, 3, 32, 32) * 2 - 1) < 0.2).all()


def test_distortion_is_the_mean_square_a_channel():
    assert float(distortion(torch.zeros(1, 2, 1, 1), torch.tensor([[[[1.0]], [[3.0]]]]))) == 5.0
