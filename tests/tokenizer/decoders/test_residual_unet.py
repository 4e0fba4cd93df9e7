import math

import numpy as np
import pytest
import torch

from decoder_cases import CONVOLUTIONAL, draw, some_codes, tokenizer_of
from vistok.tokenizer.decoders.code_size import code_size
from vistok.tokenizer.decoders.residual_unet import ResidualUNetConfig
from vistok.tokenizer.decoders.unet_layers import ChannelNorm, TimeFeatures
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig


def built(steps=1, **values):
    torch.manual_seed(0)
    architecture = ConvolutionalConfig.model_validate(CONVOLUTIONAL | {"stem": 4})  # 8 pixels for a code
    unet = ResidualUNetConfig.model_validate({"channels": [8, 16, 16], "blocks": 1, "time_channels": 8} | values)
    unet = unet.build(architecture, 4)
    draw(unet)
    unet.steps = steps
    return unet.eval().requires_grad_(False)


def inputs(y=2, x=3, count=1):
    return torch.randn(count, 4, y, x), torch.randn(count, 3, 8 * y, 8 * x), torch.randn(count, 3, 8 * y, 8 * x)


@pytest.mark.parametrize("steps", [1, 2, 8, 25])
def test_it_follows_the_predicted_velocity_by_the_method_of_euler(steps):
    unet = built(steps)
    unet.scale = 0.5
    codes, base, noise = inputs()
    z = noise.double()
    for step in range(steps):
        t, after = 1 - step / steps, 1 - (step + 1) / steps
        u = unet.predict(z.float(), torch.full((1,), t), codes, base).double()
        z = z + (after - t) * (z - u) / t
    torch.testing.assert_close(unet(codes, base, noise), (base + 0.5 * z).float(), atol=2e-5, rtol=1e-5)


def test_one_step_is_the_prediction_from_noise_at_time_one():
    unet = built()
    codes, base, noise = inputs()
    expected = base + unet.scale * unet.predict(noise, torch.ones(1), codes, base)
    torch.testing.assert_close(unet(codes, base, noise), expected)


@pytest.mark.parametrize("stem", [1, 2, 4, 8])
@pytest.mark.parametrize("grid", [(1, 1), (1, 3), (5, 7)], ids=str)
def test_any_grid_goes_down_and_up_every_level(stem, grid):
    unet = built(stem=stem, channels=[8, 8, 8, 8, 8])
    codes, base, noise = inputs(*grid)
    assert unet(codes, base, noise).shape == base.shape


def test_a_position_far_from_the_border_sees_the_same_in_a_crop():
    unet = built(channels=[8, 16])
    codes, base, noise = inputs(20, 20)
    whole = unet(codes, base, noise)
    crop = unet(codes[..., 2:, :-2], base[..., 16:, :-16], noise[..., 16:, :-16])
    torch.testing.assert_close(whole[..., 80:, :-80], crop[..., 64:, :-64], atol=1e-5, rtol=1e-5)


def test_images_have_times_and_answers_of_their_own():
    unet = built()
    codes, base, z = inputs(count=3)
    times = torch.tensor([0.1, 0.5, 1.0])
    together = unet.predict(z, times, codes, base)
    for index in range(3):
        one = slice(index, index + 1)
        torch.testing.assert_close(together[one], unet.predict(z[one], times[one], codes[one], base[one]))
    assert not torch.allclose(together, unet.predict(z, times.flip(0), codes, base))


def test_codes_are_seen_where_their_pixels_are():
    unet = built(channels=[8], blocks=1)
    codes, base, noise = inputs(8, 9)
    changed = codes.clone()
    changed[..., 3, 4] += 1
    difference = (unet(codes, base, noise) - unet(changed, base, noise)).abs().amax(dim=(0, 1))
    rows, columns = (difference > 0).nonzero().T
    centre = (float(rows.float().mean()), float(columns.float().mean()))
    np.testing.assert_allclose(centre, (3.5 * 8 - 0.5, 4.5 * 8 - 0.5), atol=0.5)


def test_the_norm_is_that_of_float64():
    norm = ChannelNorm(6)
    draw(norm)
    x, scale, shift = torch.randn(2, 6, 3, 4), torch.randn(2, 6), torch.randn(2, 6)
    exact = x.double() / (x.double().pow(2).mean(1, keepdim=True) + 1e-6).sqrt() * norm.weight.double()[:, None, None]
    torch.testing.assert_close(norm(x).double(), exact, atol=1e-6, rtol=1e-6)
    modulated = exact * (1 + scale.double()[..., None, None]) + shift.double()[..., None, None]
    torch.testing.assert_close(norm(x, scale, shift).double(), modulated, atol=2e-6, rtol=1e-6)
    assert norm(torch.zeros(1, 6, 2, 2)).eq(0).all()


def test_features_of_a_time_are_waves_of_a_geometric_row_of_frequencies():
    features = TimeFeatures(6)
    time = 0.3
    angles = [time * 1000 * 1000 ** (-i / 2) for i in range(3)]
    waves = torch.tensor([*map(math.sin, angles), *map(math.cos, angles)])
    hidden = torch.nn.functional.silu(features.hidden(waves))
    torch.testing.assert_close(
        features(torch.tensor([time]))[0], torch.nn.functional.silu(features.out(hidden)), atol=1e-4, rtol=1e-4
    )


def test_codes_of_any_size_are_seen_alike():
    model = tokenizer_of("bare", "residual_unet")
    codes = some_codes(model, (64, 64))
    size = float(code_size(model.quantizer))
    assert size == pytest.approx(float(codes.square().mean().sqrt()), rel=0.1)
    unet = model.extra_decoder("generative")
    assert 2**-0.5 <= size / 2 ** int(unet.code_exponent) <= 2**0.5
    noise = torch.randn(1, 3, 16, 16)
    before = unet.condition(codes[..., :2, :2], noise)
    unet.code_exponent += 10
    torch.testing.assert_close(unet.condition(codes[..., :2, :2] * 1024, noise), before)


def test_a_stem_must_divide_the_downsampling():
    architecture = ConvolutionalConfig.model_validate(CONVOLUTIONAL)  # 2 pixels for a code
    assert ResidualUNetConfig().build(architecture, 4).stem == 2
    with pytest.raises(ValueError, match=r"stem is 4, but must divide the downsampling .*, 2: give 1, or leave it out"):
        ResidualUNetConfig(stem=4).build(architecture, 4)


def test_time_channels_are_even():
    with pytest.raises(ValueError, match="time_channels is 5, but must be even: try 6"):
        ResidualUNetConfig(time_channels=5)
