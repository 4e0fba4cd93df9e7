"""Imported tokenizers compute what the original code does."""

import zlib

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import vistok
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
    called = CliRunner().invoke(app, [str(tmp_path / "published.pt"), "--out", str(tmp_path / "out")])
    assert called.exit_code == 0, called.stderr
    assert f"imported as {family}" in called.stdout
    model, config = load_tokenizer(tmp_path / "out")
    assert vistok.load(str(tmp_path / "out"), device="cpu").fingerprint in called.stdout
    assert config.architecture.downsample == 2 ** (len(config.architecture.encoder.channels) - 1)
    for given in case["inputs"]:
        image = golden_image(given["seed"], *given["size"])
        assert zlib.crc32(image.tobytes()) == given["image_crc32"]
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        check(model, pixels, given)


def check(model, pixels, golden):
    latent, tokens = model.encode_latent(pixels), model.encode(pixels)
    expected = torch.tensor(golden["tokens"]).reshape(1, 1, *golden["tokens_shape"])
    risky = torch.zeros(expected.numel(), dtype=torch.bool)
    risky[golden["rounding_risk"]] = True
    assert torch.equal(tokens.flatten()[~risky], expected.flatten()[~risky])
    assert list(latent.shape) == golden["latent"]["shape"]
    for position, name in ((0, "first"), (-1, "last")):
        channels = torch.tensor(golden["latent"][f"{name}_position_first_channels"])
        torch.testing.assert_close(latent[0, :8, position, position][: len(channels)], channels, atol=1e-5, rtol=0)
    assert abs(latent.mean().item() - golden["latent"]["mean"]) < 1e-4
    decoded = model.decode_latent(model.quantizer.lookup(expected))
    assert list(decoded.shape) == golden["decoded"]["shape"]
    for c, y, x, value in golden["decoded"]["samples"]:
        assert abs(decoded[0, c, y, x].item() - value) < 1e-4
    for name, value in (("mean", decoded.mean()), ("min", decoded.min()), ("max", decoded.max())):
        assert abs(value.item() - golden["decoded"][name]) < 1e-4


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
