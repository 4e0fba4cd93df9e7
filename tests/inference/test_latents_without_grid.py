"""A tokenizer with a row of latents goes through every command: its tokens are `b q 1 n`, and its images have one size."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformer_networks import LATENT_TOKENS
from typer.testing import CliRunner

import vistok
from runs import finetune
from samples import PHOTOS, small_tokenizer, stored_samples
from vistok.inference.commands import detokenize_images, evaluate_tokenizer, tokenize_images
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.networks.architectures import ARCHITECTURES
from vistok.tokenizer.preprocessing import PreprocessingConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("row") / "tokenizer"
    architecture = parse_choice(ARCHITECTURES, LATENT_TOKENS, "architecture")
    model = small_tokenizer({"name": "vq", "dim": 4, "codebook_size": 32}, architecture=architecture)
    save_tokenizer(folder, model, architecture, PreprocessingConfig(size=32), "# row\n")
    return folder


def call(command, *arguments, code=0):
    called = CliRunner().invoke(command.app, [str(argument) for argument in arguments])
    assert called.exit_code == code, called.stderr
    return called.stdout if code == 0 else called.stderr


def test_images_to_shards_and_back(folder, tmp_path):
    call(tokenize_images, PHOTOS, "--out", tmp_path / "shards", "--model", folder, "--preview", 2)
    tokenizer = vistok.load(folder, device="cpu")
    samples = {sample.key: sample.tokens() for sample in stored_samples(next((tmp_path / "shards").glob("*.tar")))}
    coffee = tokenizer.encode(PHOTOS / "coffee.jpg")
    assert len(samples) == 6 and np.array_equal(samples["coffee"], coffee[0].numpy()) and coffee.shape == (1, 1, 1, 6)
    call(detokenize_images, tmp_path / "shards", "--out", tmp_path / "images", "--model", folder)
    with Image.open(tmp_path / "images" / "coffee.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(tokenizer.decode(coffee)[0])) and image.size == (32, 32)


def test_evaluation(folder, tmp_path):
    call(evaluate_tokenizer, folder, PHOTOS, "--out", tmp_path / "evaluation")
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["tokens"] == 6 * 6 and (tmp_path / "evaluation" / "report.html").stat().st_size


def test_its_decoder_is_fine_tuned_and_its_quantizer_swapped(folder, tmp_path):
    """Crops have the only size, whatever data.crop says."""
    finetune(folder, PHOTOS, tmp_path / "decoder", "--only", "decoder", "--steps", 2)
    assert vistok.load(tmp_path / "decoder" / "export").fingerprint == vistok.load(folder).fingerprint
    before, after = (load_tokenizer(each).model.state_dict() for each in (folder, tmp_path / "decoder" / "export"))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)
    finetune(folder, PHOTOS, tmp_path / "swap", "--quantizer", "fsq", "--levels", "5,5,5", "--steps", 0)
    swapped = vistok.load(tmp_path / "swap" / "export", device="cpu")
    assert swapped.encode(PHOTOS / "coffee.jpg").shape == (1, 1, 1, 6) and swapped.vocab_size == 125


def test_another_size_is_refused(folder, tmp_path):
    alone = "the networks take images of 32 x 32 pixels alone: make it 32."
    for size in (64, "native"):
        said = call(tokenize_images, PHOTOS, "--out", tmp_path / "out", "--model", folder, "--size", size, code=2)
        assert f"--size is {size}, but {alone}" in said
    tokenizer = vistok.load(folder, device="cpu")
    with pytest.raises(ValueError, match=f"^preprocessing.size is native, but {alone}$"):
        tokenizer.with_preprocessing(PreprocessingConfig(size="native"))
    config = folder / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"size": 32', '"size": 48'))
    with pytest.raises(ValueError, match=f"preprocessing.size is 48, but {alone}$"):
        vistok.load(folder)
    config.write_text(text)
    assert tokenizer.grid(480, 640) == (1, 6) and "1 x 6 tokens" in repr(tokenizer)
