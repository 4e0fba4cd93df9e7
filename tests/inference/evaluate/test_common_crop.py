"""The common crop: a square that every tokenizer takes, and none has to enlarge where that can be."""

from types import SimpleNamespace

import pytest

from vistok.inference.evaluate.common_crop import common_crop
from vistok.tokenizer.preprocessing import PreprocessingConfig


def config(size, downsample, only=None):
    architecture = SimpleNamespace(downsample=downsample, image_size=only)
    return SimpleNamespace(architecture=architecture, preprocessing=PreprocessingConfig(size=size))


@pytest.mark.parametrize(
    ("configs", "side", "reason"),
    [
        (
            [config(256, 8), config(512, 16)],
            256,
            "the largest square that is no larger than any tokenizer's own, in mul",
        ),
        ([config(256, 16), config(256, 14)], 224, "in multiples of 112 pixels"),
        ([config(64, 16), config("native", 28)], 112, "in multiples of 112 pixels"),  # smaller ones do not fit
        ([config("native", 8), config("area:512", 16)], 512, "in multiples of 16 pixels"),
        ([config("area:512-1024", 8), config("area:2048", 16)], 1024, "no larger than any tokenizer's own"),
        (
            [config("native", 8), config("native", 48)],
            240,
            "in multiples of 48 pixels, since no tokenizer has a size of its",
        ),
        ([config(512, 8), config(256, 16, 256), config(256, 16, 256)], 256, "the only size that 1 takes."),
    ],
)
def test_the_side(configs, side, reason):
    found = common_crop({str(index): each for index, each in enumerate(configs)})
    assert found.preprocessing == PreprocessingConfig(size=side)
    assert f"The common crop is {side} x {side} pixels: " in found.sentence and reason in found.sentence
    assert all(side % each.architecture.downsample == 0 for each in configs)
    assert "Each image is resized to it once (bicubic, short side, then the centre), and all" in found.sentence


def test_where_there_is_none_it_is_said():
    two = common_crop({"a": config(256, 16, 256), "b": config(512, 16, 512), "c": config(64, 8)})
    assert two.preprocessing is None
    assert two.sentence == "There is no common crop: a takes 256 x 256 pixels alone, b takes 512 x 512 pixels alone."
    misfit = common_crop({"a": config(256, 16, 256), "b": config(512, 24)})
    assert misfit.preprocessing is None and misfit.sentence == (
        "There is no common crop: a takes 256 x 256 pixels alone, and the sides of all tokenizers would be multiples of 48."
    )
