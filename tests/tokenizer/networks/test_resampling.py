"""Changes of the grid, by their definitions on whole grids."""

import pytest
import torch
from torch.nn import functional

from samples import small_tokenizer
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig
from vistok.tokenizer.networks.resampling import RESAMPLERS


def test_padded_on_all_sides_a_strided_convolution_is_every_second_value_of_a_plain_one():
    down, _ = RESAMPLERS["subpixel"]
    layer, x = down(3, 5), torch.randn(2, 3, 6, 8)
    plain = functional.conv2d(x, layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x), plain[:, :, ::2, ::2])


def test_sub_pixel_upsampling_fills_each_square_from_four_channels():
    _, up = RESAMPLERS["subpixel"]
    layer, x = up(3, 5), torch.randn(2, 3, 4, 6)
    four = functional.conv2d(x, layer.conv.weight, layer.conv.bias, padding=1)
    found = layer(x)
    assert found.shape == (2, 5, 8, 12)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert torch.equal(found[:, :, dy::2, dx::2], four[:, 2 * dy + dx :: 4])


def test_pooling_takes_the_mean_of_each_square_and_has_no_weights():
    down, up = RESAMPLERS["pooled"]
    layer, x = down(3, 3), torch.randn(2, 3, 4, 6)
    squares = [x[:, :, dy::2, dx::2] for dy in (0, 1) for dx in (0, 1)]
    torch.testing.assert_close(layer(x), sum(squares) / 4)
    assert not list(layer.parameters()) and up(3, 5)(x).shape == (2, 5, 8, 12)


@pytest.mark.parametrize("resampling", RESAMPLERS)
def test_networks_of_every_kind_halve_the_grid_at_each_level_and_double_it_again(resampling):
    side = {"channels": [32, 64, 32], "blocks": [1, 2, 1]}
    config = {"encoder": side, "decoder": side, "latent_channels": 8, "resampling": resampling}
    model = small_tokenizer(architecture=ConvolutionalConfig.model_validate(config))
    assert model.encode_latent(torch.zeros(2, 3, 8, 12)).shape == (2, 4, 2, 3)
    assert model.decode_latent(torch.zeros(2, 4, 2, 3)).shape == (2, 3, 8, 12)
