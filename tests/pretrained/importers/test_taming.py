"""VQGANs of taming-transformers and latent diffusion."""

import pytest
import torch
from golden_checks import check_import

from golden_weights import golden_case

LOSS = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight": torch.zeros(2, 3, 4, 4)}
"""What a published file holds besides the tokenizer."""


@pytest.mark.parametrize("name", ["small", "small_ldm_vq_f8", "small_two_attention_levels", "small_gumbel"])
def test_tokens_latents_and_images_are_those_of_the_original(name, tmp_path):
    case, weights = golden_case(f"taming/{name}")
    torch.save({"state_dict": weights | LOSS, "epoch": 3, "lr_schedulers": []}, tmp_path / "last.ckpt")
    _, config = check_import(case, tmp_path / "last.ckpt", "taming")
    assert config.quantizer.name == ("gumbel" if name == "small_gumbel" else "vq")
    assert config.architecture.downsample == 8 and config.preprocessing.size == 256


def test_the_first_stage_of_a_model_of_latents_is_found_under_its_prefix(tmp_path):
    case, weights = golden_case("taming/small_ldm_vq_f8")
    first = {f"first_stage_model.{name}": weight for name, weight in weights.items()}
    torch.save({"state_dict": first | {"model.diffusion_model.out.0.weight": torch.ones(3)}}, tmp_path / "model.ckpt")
    check_import(case, tmp_path / "model.ckpt", "taming")
