"""A swapped quantizer in a trained tokenizer, without retraining: the algebra must be exact."""

import numpy as np
import pytest
import torch

from samples import ARCHITECTURE, gaussian, small_tokenizer
from vistok.tokenizer.model import build_tokenizer
from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.finetune.swap_quantizer import (
    LatentPairs,
    as_latent,
    between_linear_maps,
    latent_pairs,
    swap_quantizer,
    swapped_architecture,
    takes_shift,
)


@pytest.mark.parametrize("old", [{"name": "fsq", "levels": [8, 8, 8]}, {"name": "vq", "dim": 3, "codebook_size": 32}])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_a_swapped_tokenizer_is_encoder_maps_quantizer_maps_decoder(old, dim):
    model = small_tokenizer(old).eval()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    pairs = latent_pairs(model, pixels)
    quantizer = build_quantizer({"name": "vq", "dim": dim, "codebook_size": 64}).eval()
    fitted = between_linear_maps(quantizer, pairs)
    swapped = swap_quantizer(model, fitted)
    with torch.no_grad():
        inside = fitted(model.encode_latent(pixels))
        expected = model.decode_latent(inside.latent)
        assert torch.equal(swapped.encode(pixels), inside.tokens)
        assert torch.allclose(swapped(pixels).pixels, expected, atol=1e-4)
    for layer in (swapped.quantizer_in, swapped.quantizer_out):
        assert isinstance(layer, torch.nn.Conv2d), "as an architecture with quantizer_convolutions has"


def test_a_swap_is_exact_between_kernels_of_three_and_pixels_in_zero_to_one():
    """Those kernels pad codes with zeros, which a shift of the codes would not reach."""
    architecture = ARCHITECTURE.model_copy(update={"quantizer_kernel": 3, "pixel_values": (0.0, 1.0)})
    assert not takes_shift(architecture) and takes_shift(ARCHITECTURE)
    model = small_tokenizer({"name": "fsq", "levels": [8, 8, 8]}, architecture=architecture).eval()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    quantizer = build_quantizer({"name": "vq", "dim": 2, "codebook_size": 64}).eval()
    fitted = between_linear_maps(quantizer, latent_pairs(model, pixels), with_shift=False)
    torch.nn.init.normal_(fitted.into.bias)
    swapped = swap_quantizer(model, fitted)
    with torch.no_grad():
        inside = fitted(model.encode_latent(pixels))
        assert torch.equal(swapped.encode(pixels), inside.tokens)
        assert torch.allclose(swapped(pixels).pixels, model.decode_latent(inside.latent), atol=1e-5)
    rebuilt = build_tokenizer(swapped_architecture(architecture), quantizer.config)
    assert {name: value.shape for name, value in rebuilt.state_dict().items()} == {
        name: value.shape for name, value in swapped.state_dict().items()
    }


def test_layers_around_a_quantizer_that_had_none_are_one_by_one():
    bare = ARCHITECTURE.model_copy(update={"quantizer_convolutions": False, "quantizer_kernel": 3})
    swapped = swapped_architecture(bare)
    assert takes_shift(bare) and swapped.quantizer_convolutions and swapped.quantizer_kernel == 1


def test_pairs_are_the_latents_and_what_the_decoder_knows_of_them():
    model = small_tokenizer({"name": "fsq", "levels": [8, 8, 8]}).eval()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    pairs = latent_pairs(model, pixels)
    with torch.no_grad():
        latent = model.encode_latent(pixels)
        assert torch.equal(as_latent(pairs.vectors)[0, :, 0, 5], latent[0, :, 1, 1])
        assert torch.equal(pairs.targets[17], model.quantizer.to_code_space(latent)[1, :, 0, 1])


def test_a_bounded_latent_is_found_again_by_least_squares():
    """FSQ's bound is affine in tanh: behind a quantizer that squashes by tanh the maps fit it without error, but for shift."""
    model = small_tokenizer({"name": "fsq", "levels": [7, 7, 7]}).eval()  # odd levels have no shift
    pairs = latent_pairs(model, torch.rand(2, 3, 32, 32) * 2 - 1)
    quantizer = build_quantizer({"name": "vq", "dim": 3, "codebook_size": 64, "squash": "tanh"}).eval()
    fitted = between_linear_maps(quantizer, pairs)
    with torch.no_grad():
        found = fitted.out(quantizer.to_code_space(fitted.into(as_latent(pairs.vectors))))
    assert torch.allclose(found, as_latent(pairs.targets), atol=1e-5)


def test_fewer_channels_are_the_principal_ones():
    vectors = gaussian(2000, 5)
    fitted = between_linear_maps(
        build_quantizer({"name": "vq", "dim": 2, "codebook_size": 8}), LatentPairs(vectors, vectors)
    )
    with torch.no_grad():
        kept = fitted.out(fitted.into(as_latent(vectors)))[0, :, 0].T.double().numpy()
    x = vectors.double().numpy()
    mean = x.mean(axis=0)
    u, s, v = np.linalg.svd(x - mean, full_matrices=False)
    best = mean + (u[:, :2] * s[:2]) @ v[:2]
    assert ((kept - x) ** 2).mean() == pytest.approx(((best - x) ** 2).mean(), rel=1e-3)
