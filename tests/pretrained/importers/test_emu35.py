"""Emu3.5's tokenizer: the original file, and the encoder within transformers' Apertus 1.5."""

import pytest
import torch
from golden_checks import check_import
from safetensors.torch import save_file

from golden_weights import golden_case


@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_tokens_latents_and_images_are_those_of_the_original(wrapper, tmp_path):
    case, weights = golden_case("emu3.5/small")
    torch.save({wrapper: weights} if wrapper else weights, tmp_path / "model.ckpt")
    _, config = check_import(case, tmp_path / "model.ckpt", "emu3.5")
    assert config.quantizer.similarity == "dot" and config.architecture.decoder.blocks == [5] * 5


@pytest.mark.parametrize("prefix", ["", "vision_tokenizer.", "model.vision_tokenizer."])
def test_apertus_has_the_same_encoder_under_other_names(prefix, tmp_path):
    case, weights = golden_case("emu3.5/apertus")
    others = {"model.language_model.norm.weight": torch.ones(3)} if prefix else {}
    save_file({f"{prefix}{name}": weight for name, weight in weights.items()} | others, tmp_path / "model.safetensors")
    _, config = check_import(case, tmp_path / "model.safetensors", "emu3.5")
    assert config.architecture.encoder_only
