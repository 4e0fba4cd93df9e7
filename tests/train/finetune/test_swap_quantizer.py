"""Another quantizer in a trained tokenizer, without retraining: the algebra must be exact."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.codebook.maintenance import CodebookConfig
from vistok.train.finetune.fit_quantizer import RECONSTRUCTION, FitConfig, FittedQuantizer, as_latent, fit_quantizer
from vistok.train.finetune.grow_codebook import grown_quantizer
from vistok.train.finetune.swap_quantizer import (
    LatentPairs,
    between_linear_maps,
    is_bounded,
    latent_pairs,
    swap_quantizer,
)
from vistok.train.losses.terms import quantizer_weights

IDENTITY = torch.nn.Identity()


def gaussian(count, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator) @ torch.randn(dim, dim, generator=generator)


def fit(model, vectors, targets, steps=200, care=None, **weights):
    weights = quantizer_weights(model.quantizer, commitment=0.0) | {RECONSTRUCTION: 1.0} | weights
    config = FitConfig(steps=steps, batch_size=256, lr=1e-2)
    fit_quantizer(model, vectors, targets, weights, config, care or CodebookConfig(), Accelerator(cpu=True), seed=0)


@pytest.mark.parametrize("old", [{"name": "fsq", "levels": [8, 8, 8]}, {"name": "vq", "dim": 3, "codebook_size": 32}])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_a_swapped_tokenizer_is_encoder_maps_quantizer_maps_decoder(old, dim):
    model = small_tokenizer(old).eval()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    pairs = latent_pairs(model, pixels)
    quantizer = build_quantizer({"name": "vq", "dim": dim, "codebook_size": 64}).eval()
    fitted = between_linear_maps(quantizer, pairs)
    swapped, architecture = swap_quantizer(model, ARCHITECTURE, fitted)
    with torch.no_grad():
        inside = fitted(model.encode_latent(pixels))
        expected = model.decode_latent(inside.latent)
        assert torch.equal(swapped.encode(pixels), inside.tokens)
        assert torch.allclose(swapped(pixels).pixels, expected, atol=1e-4)
    assert architecture.quantizer_convolutions


def test_pairs_are_the_latents_and_what_the_decoder_knows_of_them():
    model = small_tokenizer({"name": "fsq", "levels": [8, 8, 8]}).eval()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    pairs = latent_pairs(model, pixels)
    with torch.no_grad():
        latent = model.encode_latent(pixels)
        assert torch.equal(as_latent(pairs.vectors)[0, :, 0, 5], latent[0, :, 1, 1])
        assert torch.equal(pairs.targets[17], model.quantizer.to_code_space(latent)[1, :, 0, 1])
    assert is_bounded(model.quantizer) and not is_bounded(build_quantizer({"name": "vq", "dim": 2, "codebook_size": 4}))


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


def test_a_fit_brings_the_codes_to_the_latents():
    vectors = gaussian(4000, 4)
    errors = []
    for steps in (0, 300):
        model = FittedQuantizer(IDENTITY, build_quantizer({"name": "simvq", "dim": 4, "codebook_size": 64}), IDENTITY)
        fit(
            model,
            vectors,
            vectors,
            steps,
            CodebookConfig(initialization="kmeans", vectors_per_code=32, revive_every=20),
        )
        with torch.no_grad():
            quantized, tokens, _ = model(as_latent(vectors))
        errors.append(float((quantized - as_latent(vectors)).square().mean()))
        assert len(tokens.unique()) > 60
    # k-means ends near where the fit ends: the fit keeps it.
    assert errors[1] <= errors[0] * 1.01 and errors[0] < vectors.var() / 4
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_equal_fits_are_equal_and_a_loss_without_weight_is_named():
    vectors = gaussian(500, 4)
    tables = []
    for _ in range(2):
        torch.manual_seed(0)
        model = FittedQuantizer(IDENTITY, build_quantizer({"name": "vq", "dim": 4, "codebook_size": 16}), IDENTITY)
        fit(model, vectors, vectors, 20)
        tables.append(model.quantizer.codes())
    assert torch.equal(*tables)
    with pytest.raises(ValueError, match="The fit has no weight for the loss codebook: give one"):
        fit_quantizer(
            model.requires_grad_(),
            vectors,
            vectors,
            {},
            FitConfig(steps=1),
            CodebookConfig(),
            Accelerator(),
            seed=0,
        )


def test_a_quantizer_without_parameters_has_nothing_to_fit():
    model = FittedQuantizer(IDENTITY, build_quantizer({"name": "fsq", "levels": [5, 5]}), IDENTITY)
    fit(model, gaussian(100, 2), gaussian(100, 2))
    assert not model.training


def test_a_grown_codebook_keeps_its_codes_and_takes_far_latents():
    old = build_quantizer({"name": "vq", "dim": 2, "codebook_size": 4})
    old.codebook.replace(torch.arange(4), torch.zeros(4, 2))
    near, far = torch.randn(500, 2) * 1e-3, torch.randn(100, 2) + 10
    new = build_quantizer({"name": "vq", "dim": 2, "codebook_size": 12})
    grown_quantizer(new, old, torch.cat([near, far]), seed=0)
    assert torch.equal(new.codes()[:4], old.codes())
    assert (new.codes()[4:].norm(dim=1) > 5).all() and len(new.codes()[4:].unique(dim=0)) == 8
    with pytest.raises(ValueError, match="The images give 5 latents for 8 new codes: give more images"):
        grown_quantizer(new, old, near[:5], seed=0)
