"""Networks with transformers: batches, gradients, training, and sizes that they do not take."""

import re

import pytest
import torch
from transformer_networks import ATTENDING, FAMILIES, HYBRID, LATENT_TOKENS, SOFT_CODES

import vistok
from runs import config, logged
from samples import small_tokenizer
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.networks.architectures import ARCHITECTURES
from vistok.train.loop import train

VQ = {"name": "vq", "dim": 4, "codebook_size": 32}
QUANTIZERS = {
    "latent_tokens": VQ,
    "soft_codes": VQ | {"similarity": "cosine"},
    "hybrid": VQ,
    "attention": {"name": "grouped", "groups": 2, "quantizer": VQ | {"similarity": "cosine"}},
}
OUTER = {
    "latent_tokens": {
        "encoder.to_latent",
        "decoder.from_latent",
        "decoder.pixels.to_patches",
        "decoder.pixels.conv_out",
    },
    "soft_codes": {
        "encoder.to_latent",
        "decoder.from_latent",
        "decoder.pixels.network.conv_in",
        "decoder.pixels.network.conv_out",
    },
    "hybrid": {"encoder.stem.conv1", "decoder.conv_out"},
    "attention": {"encoder.stem.conv1", "decoder.conv_out"},
}
"""Layers that Muon does not take, beside tables of vectors, patches and depthwise convolutions."""


def architecture(values):
    return parse_choice(ARCHITECTURES, values, "architecture")


def model_of(name):
    return small_tokenizer(QUANTIZERS[name], architecture=architecture(FAMILIES[name]))


def images(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("name", FAMILIES)
def test_an_image_has_the_same_latent_and_pixels_beside_others(name):
    model, batch = model_of(name).eval(), images(3)
    for matrix in model.hidden_matrices():  # fresh ones are so small that images would hardly differ
        model.get_parameter(matrix).data *= 4
    latent = model.encode_latent(batch)
    pixels = model.decode_latent(model.quantizer(latent).latent)
    assert latent.shape[2:] == model.architecture.latent_grid(32, 32) and pixels.shape == batch.shape
    for index in range(3):
        alone = model.encode_latent(batch[index : index + 1])
        torch.testing.assert_close(alone[0], latent[index], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(
            model.decode_latent(model.quantizer(alone).latent)[0], pixels[index], atol=1e-4, rtol=1e-4
        )
    assert not torch.allclose(latent[0], latent[1], atol=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_weight_has_a_gradient_and_muon_takes_the_matrices_between_first_and_last(name):
    model = model_of(name)
    result = model(images(2))
    (result.pixels.square().mean() + sum(result.losses.values())).backward()
    networks = {"encoder": model.encoder, "decoder": model.decoder}
    parameters = {
        f"{part}.{key}": each for part, network in networks.items() for key, each in network.named_parameters()
    }
    assert [key for key, parameter in parameters.items() if parameter.grad is None or not parameter.grad.any()] == []
    matrices = {key for key, parameter in parameters.items() if parameter.ndim > 1}
    left = {key.removesuffix(".weight") for key in matrices - model.hidden_matrices()}
    tables = r".*\.(class_token|mask_tokens|latent_tokens|latent_positions|positions|patches|depthwise|table)"
    assert {key for key in left if not re.fullmatch(tables, key)} == OUTER[name]
    assert model.hidden_matrices() < matrices
    assert (
        model.decoder.last_layer is parameters[f"{next(key for key in OUTER[name] if key.endswith('conv_out'))}.weight"]
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_trains_exports_and_is_loaded(name, tmp_path):
    losses = {"l1": 1.0, "commitment": 0.25, "codebook": 1.0}
    chosen = [f"model.architecture={FAMILIES[name]}", f"model.quantizer={QUANTIZERS[name]}", f"losses={losses}"]
    sizes = ["data.size=32", "model.preprocessing.size=32"]
    exported = train(config(tmp_path / "run", *chosen, *sizes, "optimizer.name=muon", steps=2))
    assert logged(tmp_path / "run")
    tokenizer = vistok.load(exported, device="cpu")
    tokens = tokenizer.encode(torch.rand(2, 3, 32, 32))
    assert tokens.shape == (2, tokenizer.num_codebooks, *tokenizer.grid(32, 32))
    assert tokenizer.decode(tokens, output="tensor").isfinite().all()
    assert tokenizer.config.architecture.coverage in (exported / "README.md").read_text()


def test_an_image_of_another_size_is_refused_and_so_are_its_tokens():
    model = model_of("latent_tokens")
    with pytest.raises(
        ValueError, match=r"^The tokenizer got pixels of shape \(1, 3, 32, 64\), but takes b 3 32 32 alone"
    ):
        model.encode(torch.zeros(1, 3, 32, 64))
    with pytest.raises(
        ValueError, match=r"^The decoder got a grid of 1 x 5 codes, but takes 1 x 6 alone: give all tokens"
    ):
        model.decode(torch.zeros(1, 1, 1, 5, dtype=torch.long))
    assert model_of("hybrid").encode(torch.zeros(1, 3, 32, 64)).shape == (1, 1, 2, 4)


@pytest.mark.parametrize(
    ("family", "changes", "sentence"),
    [
        (LATENT_TOKENS, {"patch": 7}, "image_size is 32, but must be a multiple of patch, 7: change one of them."),
        (
            SOFT_CODES,
            {"decoder": SOFT_CODES["decoder"] | {"patch": 8}},
            "decoder.soft_codes.network has the downsampling 4, but decoder.patch is 8: make them equal.",
        ),
        (
            LATENT_TOKENS,
            {"encoder": {"width": 32, "layers": 1, "heads": 5}},
            "width is 32, but must be a multiple of heads, 5: change one of them.",
        ),
        (
            HYBRID,
            {"decoder": HYBRID["decoder"] | {"blocks": [1]}},
            "blocks has 1 stages but channels has 2: give one number per stage.",
        ),
        (
            HYBRID,
            {"decoder": HYBRID["decoder"] | {"channels": [8], "blocks": [1]}},
            "encoder has 2 stages but decoder has 1: give both the same number.",
        ),
        (
            ATTENDING,
            {"latent_channels": 12},
            "latent_channels is 12 and a width 32, but with projection 'attention' one must be a multiple of the other: change "
            "one of them, or use 'linear'.",
        ),
    ],
)
def test_sizes_that_do_not_fit_together_are_one_sentence(family, changes, sentence):
    with pytest.raises(ValueError, match=f"{re.escape(sentence)}$"):
        architecture(family | changes)
