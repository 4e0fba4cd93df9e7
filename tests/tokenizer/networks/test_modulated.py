"""Networks whose decoder is modulated by the latent, and their layers of a few channels, against their formulas."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

import vistok
from runs import config, logged
from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.tokenizer.networks.latent_layers import LatentBlock
from vistok.tokenizer.networks.modulated import ModulatedConfig
from vistok.tokenizer.networks.modulated_norm import ModulatedNorm, modulate
from vistok.tokenizer.networks.norms import Norm
from vistok.train.loop import train

SIDE = {"channels": [32, 64], "blocks": [1, 2], "attention": [1]}
VALUES = {"encoder": SIDE, "decoder": SIDE, "latent_channels": 4, "latent_convolutions": [8, 4], "latent_blocks": 2}
VQ = {"name": "vq", "dim": 4, "codebook_size": 32}


def model(**changes):
    return small_tokenizer(VQ, architecture=ModulatedConfig.model_validate(VALUES | changes))


def randomized(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def test_a_modulated_norm_scales_and_shifts_by_the_enlarged_latent():
    torch.manual_seed(0)
    norm = randomized(ModulatedNorm(Norm(64, "group"), 4))
    x, latent = torch.randn(2, 64, 12, 8), torch.randn(2, 4, 3, 2)
    enlarged = latent.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    normalised = functional.group_norm(x, 32, norm.norm.weight, norm.norm.bias, eps=1e-6)
    expected = normalised * norm.scale(enlarged) + norm.shift(enlarged)
    torch.testing.assert_close(norm(x, latent), expected, atol=1e-4, rtol=1e-5)
    start = ModulatedNorm(Norm(64, "group"), 4)
    assert torch.equal(start(x, latent), start.norm(x))


def test_a_latent_block_takes_no_statistics():
    torch.manual_seed(0)
    block, x = randomized(LatentBlock(4)), torch.randn(2, 4, 5, 6)
    first = block.conv1(functional.silu(x * block.weight.view(4, 1, 1) + block.bias.view(4, 1, 1)))
    torch.testing.assert_close(block(x), x + block.conv2(functional.silu(first)))
    assert torch.equal(LatentBlock(4)(x), x)


def test_the_latent_after_its_layers_modulates_every_norm_of_the_decoder():
    decoder = model().decoder
    norms = [module for module in decoder.modules() if isinstance(module, ModulatedNorm)]
    assert len(norms) == sum(isinstance(module, Norm) for module in decoder.modules()) == 14
    seen = []
    for norm in norms:
        norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1]))
    latent = torch.randn(1, 4, 4, 3)
    decoder(latent)
    expected = decoder.convolutions(decoder.blocks(latent))
    assert len(seen) == 14 and all(torch.equal(each, expected) for each in seen)


def test_with_norms_that_start_as_plain_it_is_the_convolutional_decoder():
    torch.manual_seed(0)
    bare = ModulatedConfig.model_validate(VALUES | {"latent_convolutions": [], "latent_blocks": 0})
    decoder, network = bare.build_decoder(), bare.convolutional().build_decoder()
    latent = torch.randn(2, 4, 4, 4)
    expected = network(decoder.project(latent))
    modulate(network, 4)
    decoder.network = network
    torch.testing.assert_close(decoder(latent), expected)


def test_every_weight_has_a_gradient_and_muon_takes_the_matrices_between_first_and_last():
    tokenizer = model()
    result = tokenizer(torch.rand(2, 3, 8, 12) * 2 - 1)
    (result.pixels.square().mean() + sum(result.losses.values())).backward()
    parameters = dict(tokenizer.named_parameters())
    assert [name for name, value in parameters.items() if value.grad is None or not value.grad.any()] == []
    ends = {
        *("encoder.network.conv_in.weight", "encoder.project.weight"),
        *("decoder.project.weight", "decoder.network.conv_out.weight"),
    }
    matrices = {name for name, value in parameters.items() if value.ndim > 1 and not name.startswith("quantizer")}
    assert ends < matrices and tokenizer.hidden_matrices() == matrices - ends
    assert tokenizer.decoder.last_layer is tokenizer.decoder.network.conv_out.weight


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_trains_exports_and_is_loaded(optimizer, tmp_path):
    architecture = f"model.architecture={VALUES | {'name': 'modulated'}}"
    losses = "losses={l1: 1.0, commitment: 0.25, codebook: 1.0}"
    chosen = [architecture, f"model.quantizer={VQ}", losses, f"optimizer.name={optimizer}"]
    exported = train(config(tmp_path / "run", *chosen, steps=2))
    assert logged(tmp_path / "run")
    tokenizer = vistok.load(exported, device="cpu")
    tokens = tokenizer.encode(torch.rand(2, 3, 8, 12))
    assert tokens.shape == (2, 1, 4, 6)
    assert tokenizer.decode(tokens, output="tensor").isfinite().all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"latent_convolutions": [4, 8]}, "latent_convolutions ends with 8 but latent_channels is 4: make them equal."),
        (
            {"decoder": {"channels": [32], "blocks": [1]}},
            "encoder has 2 levels of different grids but decoder has 1: give",
        ),
        ({"encoder": {**SIDE, "channels": [32, 40]}}, "channels has 40, but norm 'group' needs multiples of 32"),
    ],
)
def test_what_does_not_fit_is_one_sentence(changes, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        parse_config(ModulatedConfig, VALUES | changes)
