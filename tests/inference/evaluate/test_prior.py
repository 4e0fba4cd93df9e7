"""evaluate-tokenizer --prior: the bits of the tokenizer's own tokens, in the table, in metrics.json and on the page."""

import json
import math
import re
from functools import partial

import numpy as np
import pytest
from PIL import Image

import vistok
from compared_tokenizers import RESIDUAL, save
from vistok.evaluation.prior.measure import PRIOR_FIGURES, ImageTokens, measure_prior
from vistok.evaluation.prior.recipe import RECIPE
from vistok.inference.evaluate import prior as prior_module
from vistok.inference.evaluate.prior import group_of

SMALL = RECIPE._replace(width=16, depth=1, heads=1, context=16, checks=1)
TOO_FEW = (
    "9 images cannot train a prior and be held out from it as well: give at least 10 different images, better thousands, or "
    "leave --prior out."
)


@pytest.fixture(autouse=True)
def small_recipe(monkeypatch):
    monkeypatch.setattr(prior_module, "measure_prior", partial(measure_prior, recipe=SMALL))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for index in range(12):
        Image.fromarray(generator.integers(256, size=(16, 16, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    return [save(folder / "one", size=16), save(folder / "two", RESIDUAL, size=24)]


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)


def expected(tokenizer, images):
    paths = sorted(images.glob("*.png"))
    tokens = tokenizer.encode([str(path) for path in paths])
    side = 8 * tokens.shape[2]
    listed = [ImageTokens(path.stem, each, side * side) for path, each in zip(paths, tokens, strict=True)]
    return measure_prior(listed, tokenizer.model.quantizer, 2, tokenizer.device, recipe=SMALL)


def test_one_tokenizer_gets_the_bits_of_its_tokens(tokenizers, images, evaluate_several, tmp_path):
    said = evaluate_several(tokenizers[0], images, "--out", tmp_path, "--prior", 2, "--quiet")
    found, prior = metrics(tmp_path), expected(vistok.load(tokenizers[0]), images)
    assert {name: found[name] for name in PRIOR_FIGURES} == pytest.approx(prior.figures())
    assert found["prior"]["images"] == {"train": 7, "validation": 2, "held_out": 3} and found["prior"]["steps"] == 2
    assert found["prior_fraction"] == pytest.approx(found["prior_bits_per_token"] / math.log2(300))
    assert re.search(rf"prior bits per token +│ {prior.figures()['prior_bits_per_token']:.3f} ", said)
    assert (
        "trained for 2 steps on 7 of the images; 2 others chose its weights, and its bits are those of 3 others."
        in said
    )
    assert all(len(line) <= 80 for line in said.splitlines() if "│" in line)
    page = (tmp_path / "report.html").read_text()
    assert "bits per token of frequencies alone" in page and "bits per token of the prior on validation images" in page


def test_several_tokenizers_are_compared_on_the_common_crop(tokenizers, images, evaluate_several, tmp_path):
    said = evaluate_several(*tokenizers, images, "--out", tmp_path, "--prior", 2, "--quiet")
    one, two = metrics(tmp_path)["models"]
    crop = vistok.load(tokenizers[0]).config.preprocessing
    for facts, folder in ((one, tokenizers[0]), (two, tokenizers[1])):
        prior = expected(vistok.load(folder).with_preprocessing(crop), images)
        assert {name: facts["common_crop"][name] for name in PRIOR_FIGURES} == pytest.approx(prior.figures())
        assert facts["common_crop"]["prior"]["steps"] == 2
    assert "prior_fraction" not in two["own_crop"]
    assert said.count("prior bits per pixel") == 1 and said.count("The prior is a transformer of") == 1
    page = (tmp_path / "report.html").read_text()
    assert page.count("<h3>Distortion against learnability</h3>") == 1
    points = [
        f"{part['psnr']:.4g} at {part['prior_bits_per_pixel']:.4g}" for part in (one["common_crop"], two["common_crop"])
    ]
    assert [f"<output>{point}</output>" in page for point in points] == [True, True]


def test_without_a_prior_nothing_of_it_is_shown(tokenizers, images, evaluate_several, tmp_path):
    said = evaluate_several(tokenizers[0], images, "--out", tmp_path, "--quiet")
    assert not any("prior" in name for name in metrics(tmp_path)) and "prior bits" not in said
    assert not re.search(r"\bprior\b", (tmp_path / "report.html").read_text().lower())


def test_too_few_images_are_said_before_any_work(tokenizers, images, evaluate_several, tmp_path):
    few = sorted(images.glob("*.png"))[:9]
    said = evaluate_several(*tokenizers, *few, "--out", tmp_path / "out", "--prior", 2, "--quiet", code=2)
    assert said.endswith(f"{TOO_FEW}\n") and not (tmp_path / "out" / "metrics.json").exists()


def test_all_else_is_measured_where_too_few_images_can_be_read(tokenizers, images, evaluate_several, tmp_path):
    for index, path in enumerate(sorted(images.glob("*.png"))):
        (tmp_path / path.name).write_bytes(path.read_bytes() if index < 9 else b"")
    said = evaluate_several(tokenizers[0], tmp_path, "--out", tmp_path / "out", "--prior", 2, "--quiet")
    found = metrics(tmp_path / "out")
    assert all(found["not_measured"][name] == TOO_FEW and name not in found for name in PRIOR_FIGURES)
    assert f"{', '.join(PRIOR_FIGURES)} not measured: {TOO_FEW}" in said and found["psnr"] > 0


def test_no_steps_are_refused(tokenizers, images, evaluate_several, tmp_path):
    said = evaluate_several(tokenizers[0], images, "--out", tmp_path, "--prior", 0, code=2)
    assert "Invalid value for '--prior'" in said and "1" in said


def test_crops_and_mirror_images_belong_to_their_image():
    keys = ["a/cat_top-left", "a/cat_middle-flipped", "a/cat_flipped", "a/cat_original", "a/cat"]
    assert set(map(group_of, keys)) == {"a/cat"}
    assert [group_of(key) for key in ("a_cat", "flipped", "val_0")] == ["a_cat", "flipped", "val_0"]
