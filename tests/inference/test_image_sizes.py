"""Tokenizers whose images differ in size: the API, and the whole way through the commands."""

import json

import numpy as np
import pytest
from PIL import Image

import vistok
from samples import image_bytes, noise_image
from vistok.images.preprocessing import preprocess
from vistok.images.sizes import original_box
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

SETTINGS = (
    {"size": "area:40"},
    {"size": "area:24-48", "multiple": 16},
    {"size": "native"},
    {"size": "native", "fit": "surround", "multiple": 16, "background": (0, 0, 0)},
    {"size": "native", "fit": "shrink", "resampling": "lanczos"},
    {"size": 40, "crop": "none", "rounding": "down"},
    {"size": 40, "resize_ratio": 1.125, "halve_first": True, "resampling": "linear"},
)


@pytest.fixture
def tokenizer(tokenizer_folder):
    return vistok.load(tokenizer_folder, device="cpu")


@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_the_grid_is_that_of_the_tokens(tokenizer, values):
    other = tokenizer.with_preprocessing(PreprocessingConfig(**values))
    assert other.fingerprint != tokenizer.fingerprint
    generator = np.random.default_rng(0)
    for _ in range(12):
        width, height = (int(side) for side in np.exp(generator.uniform(0, 5, 2)))
        image = noise_image(width, height)
        tokens = other.encode(image)
        assert tuple(tokens.shape[2:]) == other.grid(height, width)
        decoded = other.decode(tokens)[0]
        assert decoded.size == Image.fromarray(preprocess(image, other.config.preprocessing, 8)).size


def test_images_of_one_area_and_different_grids_do_not_stack(tokenizer):
    other = tokenizer.with_preprocessing(PreprocessingConfig(size="area:40"))
    assert other.encode([noise_image(50, 50), noise_image(300, 310)]).shape == (2, 1, 5, 5)
    with pytest.raises(ValueError, match=r"different token grids \(\(5, 5\) and \(7, 4\)\): encode them one at a time"):
        other.encode([noise_image(50, 50), noise_image(50, 100)])


def write_images(folder):
    folder.mkdir()
    sizes = [(64, 64), (65, 64), (30, 200), (200, 30), (29, 201), (1, 90), (100, 100), (7, 7)]
    for index, (width, height) in enumerate(sizes):
        (folder / f"{index}.png").write_bytes(image_bytes(noise_image(width, height, index), "PNG"))
    return sizes


@pytest.mark.parametrize("size", ["area:40", "area:24-48", "area:8"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_an_area_from_images_to_tokens_and_back(tokenize, detokenize, tokenizer, tmp_path, size, batch_size):
    sizes = write_images(tmp_path / "images")
    out, back = tmp_path / "tokens", tmp_path / "back"
    said = tokenize(tmp_path / "images", "--out", out, "--size", size, "--batch-size", batch_size, "--preview", 3)
    assert f"size {size}" in said and f"{len(sizes)} tokenized, 0 failed" in said
    assert json.loads((out / "manifest.json").read_text())["preprocessing"]["size"] == size
    detokenize(out, "--out", back)
    other = tokenizer.with_preprocessing(PreprocessingConfig(size=size))
    for index, (width, height) in enumerate(sizes):
        image = noise_image(width, height, index)
        with Image.open(back / f"{index}.png") as saved:
            assert np.array_equal(np.asarray(saved), np.asarray(other.decode(other.encode(image))[0]))
    said = tokenize(tmp_path / "images", "--out", out, "--size", "64", code=2)
    assert f"was made with size {size}, not 64" in said


@pytest.mark.parametrize(
    "values",
    [
        {"size": "native", "fit": "surround", "multiple": 16, "background": (0, 0, 0)},
        {"size": "native", "fit": "shrink"},
        {"size": 64, "crop": "none"},
    ],
    ids=str,
)
def test_what_was_added_around_an_image_is_cropped_from_the_decoded_one(
    tokenize, detokenize, tokenizer, tmp_path, values
):
    config = PreprocessingConfig(**values)
    folder = tmp_path / "tokenizer"
    save_tokenizer(folder, tokenizer.model, tokenizer.config.architecture, config, "# other\n")
    sizes = write_images(tmp_path / "images")
    tokenize(tmp_path / "images", "--out", tmp_path / "tokens", model=folder)
    detokenize(tmp_path / "tokens", "--out", tmp_path / "back", model=folder)
    other = vistok.load(folder, device="cpu")
    for index, (width, height) in enumerate(sizes):
        decoded = other.decode(other.encode(noise_image(width, height, index)))[0]
        box = original_box(config, height, width, 8)
        with Image.open(tmp_path / "back" / f"{index}.png") as saved:
            assert np.array_equal(np.asarray(saved), np.asarray(decoded.crop(box) if box else decoded))
            if values.get("fit") == "surround":
                assert saved.size == (width, height)
