"""Emu3's video tokenizer as one of still images, in both layouts."""

import pytest
import torch
from golden_checks import check_import
from safetensors.torch import save_file

from golden_weights import golden_case


def in_names_of_transformers(case, weights):
    renamed = {}
    for name, (shape, original) in case["transformers_names"].items():
        renamed[name] = weights[original].reshape(shape)
    return renamed


def test_tokens_latents_and_images_are_those_of_the_original(tmp_path):
    case, weights = golden_case("emu3/small")
    save_file(weights, tmp_path / "model.safetensors")
    model, config = check_import(case, tmp_path / "model.safetensors", "emu3")
    assert config.architecture.latent_convolutions == [8, 4] and config.architecture.latent_blocks == 2
    assert model.downsample == 8 and model.quantizer.vocab_size == 512
    batch = torch.rand(3, 3, 64, 48) * 2 - 1
    assert torch.equal(model.encode(batch), torch.cat([model.encode(each[None]) for each in batch]))


@pytest.mark.parametrize("prefix", ["", "model.vqmodel."])
def test_transformers_has_other_names(prefix, tmp_path):
    case, weights = golden_case("emu3/small")
    renamed = {f"{prefix}{name}": value for name, value in in_names_of_transformers(case, weights).items()}
    others = {"model.text_model.norm.weight": torch.ones(3)} if prefix else {}
    save_file(renamed | others, tmp_path / "model.safetensors")
    check_import(case, tmp_path / "model.safetensors", "emu3")
