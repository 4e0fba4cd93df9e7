"""Cosmos's discrete image tokenizers: 8 x 8 pixels a token, whose levels share grids, and 16 x 16."""

import pytest
import torch
from golden_checks import check_import
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from golden_weights import golden_case
from vistok.inference.commands.import_tokenizer import app
from vistok.pretrained.importers import haar


@pytest.mark.parametrize(("name", "side"), [("cosmos/small_di8", 8), ("cosmos/small_di16", 16)])
def test_tokens_latents_and_images_are_those_of_the_original(name, side, tmp_path):
    case, weights = golden_case(name)
    save_file(weights, tmp_path / "autoencoder.safetensors")
    model, config = check_import(case, tmp_path / "autoencoder.safetensors", "cosmos")
    assert model.downsample == side and model.quantizer.vocab_size == 64_000
    assert config.architecture.stem == 4 and config.architecture.stem_channels == 32
    shared = ([2], [1]) if side == 8 else ([], [])
    assert (config.architecture.encoder.shared_grids, config.architecture.decoder.shared_grids) == shared


def traced(case, weights):
    """Return the tensors of the two published archives."""
    halves = {"encoder.jit": ("encoder.", "quant_conv."), "decoder.jit": ("decoder.", "post_quant_conv.")}
    return {
        file: {name: value for name, value in weights.items() if name.startswith(halves[file])}
        | {name: torch.zeros(shape) for name, shape in case["trace"][file].items()}
        for file in halves
    }


def test_buffers_that_a_trace_keeps_are_left_out(tmp_path):
    case, weights = golden_case("cosmos/small_di8")
    files = traced(case, weights)
    torch.save(files["encoder.jit"] | files["decoder.jit"], tmp_path / "both.pt")
    check_import(case, tmp_path / "both.pt", "cosmos")


def test_an_encoder_alone_makes_tokens(tmp_path):
    case, weights = golden_case("cosmos/small_di8")
    torch.save(traced(case, weights)["encoder.jit"], tmp_path / "encoder.pt")
    for given in case["inputs"]:
        given.pop("decoded")
    _, config = check_import(case, tmp_path / "encoder.pt", "cosmos")
    assert config.architecture.encoder_only


def test_a_quantizer_with_other_channels_is_refused(tmp_path):
    _, weights = golden_case("cosmos/small_di16")
    weights["quant_conv.weight"] = torch.zeros(5, 64, 1, 1)
    torch.save(weights, tmp_path / "a.pt")
    called = CliRunner().invoke(app, [str(tmp_path / "a.pt"), "--out", str(tmp_path / "out")])
    assert called.exit_code == 2 and "(5, 64, 1, 1) and (6,), which are not those of one layer" in called.stderr


def halved(values, dim):
    """Return the means and the half differences of neighbours along a dimension."""
    first, second = values.unflatten(dim, (-1, 2)).unbind(dim + 1)
    return (first + second) / 2, (first - second) / 2


def transformed(pixels):
    """Return the Haar transform of squares of 4 x 4 pixels in two steps, each of which divides by 4 in all."""
    for _ in range(2):
        bands = [each for row in halved(pixels, 2) for each in halved(row, 3)]
        pixels = torch.cat([bands[0], bands[2], bands[1], bands[3]], dim=1)  # those along y before those along x
    return pixels


def test_a_convolution_of_the_haar_transform_is_one_of_the_pixels():
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 24, 16)
    on_bands, bias = torch.randn(7, 48, 3, 3), torch.randn(48)
    expected = functional.conv2d(transformed(pixels), on_bands, padding=1)
    found = functional.conv2d(functional.pixel_unshuffle(pixels, 4), haar.from_pixels(on_bands), padding=1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    features, kernels = torch.randn(2, 5, 6, 4), torch.randn(48, 5, 3, 3)
    bands = functional.conv2d(features, kernels, bias, padding=1)
    found = functional.conv2d(features, haar.to_pixels(kernels), haar.to_pixels(bias), padding=1)
    found = nn.PixelShuffle(4)(found)
    torch.testing.assert_close(transformed(found), bands, atol=1e-5, rtol=1e-5)
