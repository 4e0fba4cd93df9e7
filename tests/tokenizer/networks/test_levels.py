"""Levels that share a grid, and a first convolution of its own width."""

import re

import pytest
import torch
from torch import nn

import vistok
from runs import config, logged
from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig
from vistok.train.loop import train

ENCODER = {"channels": [32, 64, 96], "blocks": [1, 1, 1], "shared_grids": [2]}
DECODER = ENCODER | {"shared_grids": [1]}
VALUES = {"stem": 2, "stem_channels": 64, "encoder": ENCODER, "decoder": DECODER, "latent_channels": 8}
VQ = {"name": "vq", "dim": 4, "codebook_size": 32}


def model(**changes):
    return small_tokenizer(VQ, architecture=ConvolutionalConfig.model_validate(VALUES | changes))


@pytest.mark.parametrize("resampling", ["strided", "shuffle"])
def test_neighbouring_levels_may_share_a_grid(resampling):
    """Of three levels, the last two of the encoder and the last two of the decoder, in order of computation."""
    tokenizer = model(resampling=resampling)
    assert tokenizer.downsample == 4
    sizes = {}
    for side in ("encoder", "decoder"):
        network = getattr(tokenizer, side)
        for level in (0, 2, 4):
            network.levels[level].register_forward_hook(
                lambda _, __, out, key=(side, level): sizes.__setitem__(key, tuple(out.shape[1:]))
            )
    result = tokenizer(torch.rand(1, 3, 16, 24))
    assert result.pixels.shape == (1, 3, 16, 24) and result.tokens.shape == (1, 1, 4, 6)
    assert [sizes["encoder", level] for level in (0, 2, 4)] == [(32, 8, 12), (64, 4, 6), (96, 4, 6)]
    assert [sizes["decoder", level] for level in (0, 2, 4)] == [(96, 4, 6), (64, 8, 12), (32, 8, 12)]
    assert isinstance(tokenizer.encoder.levels[3], nn.Identity) and isinstance(tokenizer.decoder.levels[3], nn.Identity)


def test_the_first_convolution_may_have_its_own_width():
    tokenizer = model()
    assert tokenizer.encoder.conv_in.weight.shape == (64, 12, 3, 3)
    assert tokenizer.encoder.levels[0].layers[0].shortcut.weight.shape == (32, 64, 1, 1)
    assert model(stem_channels=None).encoder.conv_in.weight.shape[0] == 32
    assert tokenizer.decoder.conv_out.weight.shape == (12, 32, 3, 3)  # the last one has none


def test_every_weight_has_a_gradient_and_muon_takes_the_matrices_between_first_and_last():
    tokenizer = model()
    result = tokenizer(torch.rand(2, 3, 16, 24) * 2 - 1)
    (result.pixels.square().mean() + sum(result.losses.values())).backward()
    parameters = dict(tokenizer.named_parameters())
    assert [name for name, value in parameters.items() if value.grad is None or not value.grad.any()] == []
    matrices = {name for name, value in parameters.items() if value.ndim > 1 and not name.startswith("quantizer")}
    ends = {f"{side}.conv_{end}.weight" for side in ("encoder", "decoder") for end in ("in", "out")}
    assert tokenizer.hidden_matrices() == matrices - ends


def test_a_run_trains_exports_and_is_loaded(tmp_path):
    losses = "losses={l1: 1.0, commitment: 0.25, codebook: 1.0}"
    chosen = [f"model.architecture={VALUES}", f"model.quantizer={VQ}", losses]
    exported = train(config(tmp_path / "run", *chosen, steps=2))
    assert logged(tmp_path / "run")
    tokenizer = vistok.load(exported, device="cpu")
    assert tokenizer.encode(torch.rand(2, 3, 16, 24)).shape == (2, 1, 4, 6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"encoder": {**ENCODER, "shared_grids": [0]}},
            "encoder: shared_grids names level 0, but must name levels from 1",
        ),
        (
            {"encoder": {**ENCODER, "shared_grids": [3]}},
            "encoder: shared_grids names level 3, but must name levels from 1",
        ),
        (
            {"decoder": {**ENCODER, "shared_grids": [1, 2]}},
            "encoder has 2 levels of different grids but decoder has 1: give",
        ),
        ({"stem_channels": 48}, "channels has 48, but norm 'group' needs multiples of 32: change one of them."),
    ],
)
def test_what_does_not_fit_is_one_sentence(changes, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        parse_config(ConvolutionalConfig, VALUES | changes)
