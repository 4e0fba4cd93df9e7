"""Imported tokenizers compute what the original code does."""

import pytest
import torch
from golden_checks import check_import
from safetensors.torch import save_file
from typer.testing import CliRunner

from golden_weights import golden_case, golden_image
from vistok.inference.commands.import_tokenizer import app
from vistok.tokenizer.folder.save_load import load_tokenizer

CASES = [
    "llamagen/small_f16",
    "llamagen/small_f8",
    "taming/small",
    "taming/small_ldm_vq_f8",
    "taming/small_two_attention_levels",
]
LOSS = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight": torch.zeros(2, 3, 4, 4)}
"""What a published file of taming holds besides the tokenizer."""


@pytest.mark.parametrize("name", CASES)
def test_tokens_latents_and_images_are_those_of_the_original(name, tmp_path):
    case, weights = golden_case(name)
    family = name.split("/")[0]
    if family == "llamagen":
        torch.save({"model": weights, "steps": 3}, tmp_path / "published.pt")
    else:
        torch.save({"state_dict": weights | LOSS, "epoch": 3, "lr_schedulers": []}, tmp_path / "published.pt")
    _, config = check_import(case, tmp_path / "published.pt", family)
    assert config.architecture.downsample == 2 ** (len(config.architecture.encoder.channels) - 1)
    assert config.origin.family == family and config.origin.checkpoint == "published.pt"


def test_a_mistaken_similarity_would_be_seen(tmp_path):
    """The data tell the families apart: under another rule of selection most tokens differ."""
    case, weights = golden_case("llamagen/small_f8")
    save_file(weights, tmp_path / "a.safetensors")
    assert CliRunner().invoke(app, [str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "out")]).exit_code == 0
    model, _ = load_tokenizer(tmp_path / "out")
    given = case["inputs"][0]
    pixels = torch.from_numpy(golden_image(given["seed"], *given["size"])).permute(2, 0, 1)[None].float() / 127.5 - 1
    latent = model.encode_latent(pixels).permute(0, 2, 3, 1).reshape(-1, 8)
    nearest = torch.cdist(latent, weights["quantize.embedding.weight"]).argmin(dim=1)
    assert (nearest == torch.tensor(given["tokens"])).float().mean() < 0.8
