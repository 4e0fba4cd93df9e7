"""TiTok: pixels made directly, and by MaskGIT's decoder from soft codes."""

import json

import pytest
import torch
from golden_checks import check_converted
from safetensors.torch import save_file
from small_checkpoints import small_checkpoint
from typer.testing import CliRunner

import vistok
from golden_weights import golden_case
from vistok.inference.commands.import_tokenizer import app

CASES = ["titok/small_vq8k", "titok/small_legacy"]


@pytest.mark.parametrize("name", CASES)
def test_tokens_latents_and_images_are_those_of_the_original(name):
    case, weights = golden_case(name)
    config = check_converted(case, weights, "titok")
    architecture = config.architecture
    assert architecture.image_size == config.preprocessing.size == 64 and architecture.pixel_values == (0, 1)
    published = {"size": 64, "crop": "even_centre", "rounding": "down", "colour": "ignore"}
    assert config.preprocessing.model_dump(exclude_defaults=True) == published
    assert architecture.encoder.heads == 8 and architecture.latent_grid(64, 64) == (1, 32)
    assert config.quantizer.similarity == ("cosine" if name.endswith("legacy") else "euclidean")


def imported(tensors, folder, settings=None):
    save_file(tensors, folder / "model.safetensors")
    if settings:
        (folder / "config.json").write_text(json.dumps(settings))
    called = CliRunner().invoke(app, [str(folder / "model.safetensors"), "--out", str(folder / "out")])
    assert called.exit_code == 0, called.stderr
    assert "imported as titok" in called.stdout
    return vistok.load(folder / "out", device="cpu")


@pytest.mark.parametrize("name", CASES)
def test_a_file_becomes_a_tokenizer_whose_images_have_one_size(name, tmp_path):
    tokenizer = imported(small_checkpoint(name), tmp_path)
    assert tokenizer.grid(480, 640) == (1, 8) and "1 x 8 tokens" in repr(tokenizer)
    assert "1 x 8 tokens for 64 x 64 pixels" in (tmp_path / "out" / "README.md").read_text()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    tokens = tokenizer.encode(images)
    assert tokens.shape == (3, 1, 1, 8) and len(tokens.unique()) > 8
    assert torch.equal(torch.cat([tokenizer.encode(image) for image in images]), tokens)
    assert tokenizer.decode(tokens, output="tensor").shape == (3, 3, 64, 64)


def test_settings_beside_the_file_say_how_codes_are_chosen(tmp_path):
    tokenizer = imported(small_checkpoint("titok/small_vq8k"), tmp_path, {"model": {"vq_model": {"use_l2_norm": True}}})
    assert tokenizer.config.quantizer.similarity == "cosine"


def test_positions_must_be_those_of_a_square(tmp_path):
    tensors = small_checkpoint("titok/small_vq8k") | {"encoder.positional_embedding": torch.zeros(16, 128)}
    save_file(tensors, tmp_path / "a.safetensors")
    called = CliRunner().invoke(app, [str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "out")])
    assert called.exit_code == 2
    assert "its tensor encoder.positional_embedding has 15 positions beside one, which are no square." in called.stderr
