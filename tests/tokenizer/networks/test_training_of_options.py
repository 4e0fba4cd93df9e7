"""The options that public networks need also train: each in a tiny network, from the config to the exported tokenizer."""

import pytest
import torch

import vistok
from runs import config, logged
from samples import small_tokenizer
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig
from vistok.train.loop import train

SIDE = {"channels": [32, 64], "blocks": [1, 2], "middle_blocks": 3, "middle_attention": False}
PLAIN = {"stem": 2, "encoder": SIDE, "decoder": SIDE, "norm": "group", "quantizer_convolutions": False}
SUBPIXEL = PLAIN | {"resampling": "subpixel"}
ADAPTIVE = SUBPIXEL | {"decoder": SIDE | {"adaptive_norm": True}}
POOLED = PLAIN | {"resampling": "pooled", "shortcut": "output", "pixel_values": [0, 1]}
LFQ = {"name": "lfq", "dim": 10}
GROUPED = {"name": "grouped", "groups": 2, "quantizer": {"name": "lfq", "dim": 4}}
VQ = {"name": "vq", "dim": 8, "codebook_size": 32}
PENALTIES = {"commitment": 0.25, "sample_entropy": 0.1, "codebook_entropy": 0.1}
OPTIONS = {
    "open-magvit2": (ADAPTIVE | {"latent_channels": 10}, LFQ, PENALTIES),
    "wetok": (ADAPTIVE | {"latent_channels": 8}, GROUPED, PENALTIES),
    "simvq": (SUBPIXEL | {"latent_channels": 8}, {**VQ, "name": "simvq"}, {"commitment": 0.25, "codebook": 1.0}),
    "maskgit": (POOLED | {"latent_channels": 8}, VQ, {"commitment": 0.25, "codebook": 1.0}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_weight_has_a_gradient_and_muon_takes_the_matrices_between_first_and_last(name):
    architecture, quantizer, _ = OPTIONS[name]
    model = small_tokenizer(quantizer, architecture=ConvolutionalConfig.model_validate(architecture))
    result = model(torch.rand(2, 3, 16, 24) * 2 - 1)
    (result.pixels.square().mean() + sum(result.losses.values())).backward()
    networks = {"encoder": model.encoder, "decoder": model.decoder}
    parameters = {
        f"{part}.{key}": each for part, network in networks.items() for key, each in network.named_parameters()
    }
    assert [key for key, parameter in parameters.items() if parameter.grad is None or not parameter.grad.any()] == []
    ends = {f"{part}.conv_{end}.weight" for part in networks for end in ("in", "out")}
    matrices = {key for key, parameter in parameters.items() if parameter.ndim > 1}
    assert ends < matrices and model.hidden_matrices() == matrices - ends


@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_trains_exports_and_is_loaded(name, tmp_path):
    architecture, quantizer, penalties = OPTIONS[name]
    losses = {"l1": 1.0, **penalties}
    chosen = [f"model.architecture={architecture}", f"model.quantizer={quantizer}", f"losses={losses}"]
    exported = train(config(tmp_path / "run", *chosen, steps=2))
    assert logged(tmp_path / "run")
    tokenizer = vistok.load(exported, device="cpu")
    tokens = tokenizer.encode(torch.rand(2, 3, 32, 48))
    assert tokens.shape == (2, tokenizer.num_codebooks, 8, 12)
    assert tokenizer.decode(tokens, output="tensor").isfinite().all()
