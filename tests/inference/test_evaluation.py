"""Evaluation, against figures derived from the pictures that come out."""

import json
import math

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import vistok
from samples import PHOTOS
from vistok.inference.commands.evaluate_tokenizer import app
from vistok.inference.evaluation import evaluate
from vistok.inference.pipeline import first_pictures
from vistok.inference.plan import plan_shards


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result.output + result.stderr


def test_figures_are_those_of_the_pictures_and_tokens_of_the_api(tokenizer_folder, tmp_path):
    said = call(tokenizer_folder, PHOTOS, "--out", tmp_path)
    got = json.loads((tmp_path / "metrics.json").read_text())
    tokenizer = vistok.load(tokenizer_folder)
    plan = plan_shards([str(PHOTOS)], 100)
    pictures = first_pictures(plan, tokenizer.config.preprocessing, tokenizer.downsample, 100)
    decibels, tokens = [], []
    for picture in pictures:
        encoded = tokenizer.encode(Image.fromarray(picture.pixels))
        decoded = np.asarray(tokenizer.decode(encoded)[0]).astype(float)
        decibels.append(10 * math.log10(255**2 / ((decoded - picture.pixels) ** 2).mean()))
        tokens.append(encoded.numpy().ravel())
    counts = np.bincount(np.concatenate(tokens), minlength=300)
    share = counts[counts > 0] / counts.sum()
    assert got["pictures"] == 6 and got["tokens"] == 6 * 64 and got["failures"] == []
    assert got["psnr"] == pytest.approx(np.mean(decibels), abs=1e-4)
    assert got["usage"] == pytest.approx((counts > 0).mean())
    assert got["perplexity"] == pytest.approx(math.exp(-(share * np.log(share)).sum()))
    assert got["bits_per_pixel"] == pytest.approx(math.log2(300) / 64)
    assert got["fingerprint"] == tokenizer.fingerprint
    assert "PSNR" in said and f"{got['psnr']:.2f} dB" in said and "6 pictures" in said


def test_pictures_that_cannot_be_read_are_listed(tokenizer_folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    said = call(tokenizer_folder, PHOTOS / "coffee.jpg", tmp_path / "broken.png", "--out", tmp_path / "out")
    assert "failed: broken.png: the file is empty" in said and "1 pictures" in said
    failures = json.loads((tmp_path / "out" / "metrics.json").read_text())["failures"]
    assert failures == [{"key": "broken", "source": "broken.png", "reason": "the file is empty"}]


def test_no_picture_at_all_is_a_wrong_call(tokenizer_folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    said = call(tokenizer_folder, tmp_path / "broken.png", "--out", tmp_path / "out", code=2)
    assert "evaluate-tokenizer: There is no picture to evaluate on: give pictures that can be read." in said
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="no picture to evaluate on"):
        evaluate(vistok.load(tokenizer_folder), [])
