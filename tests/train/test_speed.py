"""Compilation, recomputation of activations and memory formats change no result, and weights keep their names."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import compiled_runs
import pytest
import torch
from fake_gpu import SavedTensors
from safetensors.torch import load_file
from transformer_networks import FAMILIES

from runs import ADVERSARIAL, QUANTIZERS, config, new_process, resumed_equals_whole
from samples import small_tokenizer
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.model import build_tokenizer
from vistok.tokenizer.networks.architectures import ARCHITECTURES
from vistok.tokenizer.networks.blocks import AttentionBlock, ResidualBlock
from vistok.tokenizer.quantizers import QUANTIZERS as KINDS
from vistok.train.loop import train
from vistok.train.speed import memory_format, recompute_activations

OPTIONS = [*QUANTIZERS["ema"], *ADVERSARIAL, "data.workers=0"]
SIDE = {"channels": [32, 64], "blocks": [1, 2], "attention": [1]}
ARCHITECTURE_VALUES = FAMILIES | {
    "convolutional": {"name": "convolutional", "encoder": SIDE, "decoder": SIDE | {"adaptive_norm": True}},
    "modulated": {"name": "modulated", "encoder": SIDE, "decoder": SIDE, "latent_channels": 4, "latent_blocks": 2},
}


def test_compiled_runs_are_those_that_are_not_and_resume_as_either(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    program = [sys.executable, str(Path(compiled_runs.__file__)), str(tmp_path)]
    result = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]


def test_a_run_with_recomputed_blocks_is_the_same_run_and_resumes(tmp_path):
    def weights(name, *options):
        new_process()
        return load_file(train(config(tmp_path / name, *OPTIONS, *options, steps=3)) / "model.safetensors")

    plain, recomputed = weights("plain"), weights("recomputed", "run.activation_checkpointing=true")
    assert plain.keys() == recomputed.keys() and all(torch.equal(plain[key], recomputed[key]) for key in plain)
    new_process()
    resumed_equals_whole(tmp_path / "resumed", *OPTIONS, "run.activation_checkpointing=true")


@pytest.mark.parametrize("name", list(ARCHITECTURE_VALUES))
def test_recomputed_blocks_give_the_same_gradients_and_keep_less(name):
    torch.manual_seed(0)
    architecture = parse_choice(ARCHITECTURES, ARCHITECTURE_VALUES[name], "architecture")
    dim = architecture.latent_channels
    model = build_tokenizer(
        architecture, parse_choice(KINDS, {"name": "vq", "dim": dim, "codebook_size": 8}, "quantizer")
    )
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # residuals that start at zero have no gradients inside
    pixels, found, kept = torch.rand(2, 3, 32, 32) * 2 - 1, [], []
    for recomputes in (False, True):
        ours = copy.deepcopy(model).train()
        if recomputes:
            recompute_activations([ours.encoder, ours.decoder])
        with SavedTensors() as saved:
            output = ours(pixels)
        (output.pixels.square().sum() + sum(output.losses.values())).backward()
        kept.append(saved.bytes())
        found.append({key: parameter.grad for key, parameter in ours.named_parameters() if parameter.grad is not None})
        assert ours.state_dict().keys() == model.state_dict().keys()
    plain, recomputed = found
    assert plain.keys() == recomputed.keys() and all(torch.equal(plain[key], recomputed[key]) for key in plain)
    assert kept[1] < 0.75 * kept[0]


def test_networks_without_blocks_cannot_recompute(monkeypatch):
    for block in (ResidualBlock, AttentionBlock):
        monkeypatch.setattr(block, "is_block", False)
    with pytest.raises(
        ValueError, match="run.activation_checkpointing is true, but the networks have no blocks to compute"
    ):
        recompute_activations([small_tokenizer({"name": "vq", "dim": 4, "codebook_size": 8}).encoder])


def test_the_memory_format_follows_the_device_unless_it_is_chosen():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert memory_format("auto", cpu) == torch.channels_last and memory_format("auto", cuda) == torch.contiguous_format
    for device in (cpu, cuda):
        assert memory_format("channels_last", device) == torch.channels_last
        assert memory_format("contiguous", device) == torch.contiguous_format
