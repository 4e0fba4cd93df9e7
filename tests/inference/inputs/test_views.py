"""The crops of an image and their mirror images, against Pillow's own."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from samples import image_bytes, noise_image
from vistok.images.file_entry import file_entry
from vistok.images.preprocessing import preprocess
from vistok.inference.inputs.reading import read_image
from vistok.inference.inputs.samples import Sample
from vistok.inference.inputs.views import Views, image_key, parse_views, row_key, rows_of
from vistok.tokenizer.preprocessing import PreprocessingConfig


@pytest.fixture
def rows(tmp_path):
    """Return the rows of an image, by view, and check what is the same for all of them."""

    def read(image, views, **config):
        config = PreprocessingConfig(**config)
        (tmp_path / "x.png").write_bytes(image_bytes(image, "PNG"))
        sample = Sample("a/x", "x.png", file_entry(str(tmp_path / "x.png"), "x.png"))
        whole = read_image(sample, views.canvas(config), 8)
        found = rows_of(whole, views, config, 8)
        assert [row.metadata.pop("view") for row in found] == list(views.names)
        assert all(row.metadata == whole.metadata for row in found)
        assert [row.sample.key for row in found] == [f"a/x_{name}" for name in views.names]
        return {name: row.pixels for name, row in zip(views.names, found, strict=True)}

    return read


def boxes(large, side):
    """The corners of a square and its middle, rounded half to even, as torchvision's FiveCrop has them."""
    end, middle = large - side, round((large - side) / 2)
    return {
        "top-left": (0, 0, side, side),
        "top-right": (end, 0, large, side),
        "bottom-left": (0, end, side, large),
        "bottom-right": (end, end, large, large),
        "middle": (middle, middle, middle + side, middle + side),
    }


@pytest.mark.parametrize(
    ("size", "side", "ratio", "large"),
    [((90, 70), 64, 1.1, 70), ((81, 240), 64, 1.05, 67), ((50, 40), 48, 1.1, 52), ((64, 64), 64, 1.0, 64)],
)
def test_ten_crops_are_cut_from_a_larger_square(rows, size, side, ratio, large):
    image = noise_image(*size)
    cut = rows(image, Views(crops="ten", resize_ratio=ratio), size=side)
    short = min(size)
    resized = image.resize(tuple(round(extent * large / short) for extent in size), Image.Resampling.BICUBIC)
    left, top = ((extent - large) // 2 for extent in resized.size)
    square = resized.crop((left, top, left + large, top + large))
    expected = {name: square.crop(box) for name, box in boxes(large, side).items()}
    mirrored = ImageOps.mirror(square)
    other = {"left": "right", "right": "left"}
    for name in list(expected):
        down, _, across = name.partition("-")  # the mirror image of a left crop is a right crop of the mirror image
        crop = mirrored.crop(boxes(large, side)[f"{down}-{other[across]}" if across else name])
        expected[f"{name}-flipped"] = crop
    assert cut.keys() == expected.keys() and len(cut) == 10
    for name, crop in expected.items():
        assert np.array_equal(cut[name], np.asarray(crop)), name
    for name in boxes(large, side):
        if name != "middle" or (large - side) % 2 == 0:
            assert np.array_equal(cut[f"{name}-flipped"], cut[name][:, ::-1])


def test_the_recipe_of_llamagen(rows):
    """Halve with a box filter, resize with bicubic, crop the centre: that of 281 pixels, for crops of 256 at 1.1."""
    image = noise_image(700, 600)
    cut = rows(image, Views(crops="ten"), size=256, halve_first=True, colour="ignore")
    half = image.resize((350, 300), Image.Resampling.BOX)
    resized = np.asarray(half.resize((round(350 * 281 / 300), 281), Image.Resampling.BICUBIC))
    left = (resized.shape[1] - 281) // 2
    assert np.array_equal(cut["top-left"], resized[:256, left : left + 256])
    assert np.array_equal(cut["middle"], resized[12:268, left + 12 : left + 268])
    assert np.array_equal(cut["middle-flipped"], resized[12:268, left + 13 : left + 269][:, ::-1])


@pytest.mark.parametrize(
    "config",
    [
        {"size": 32},
        {"size": 32, "crop": "none"},
        {"size": "native"},
        {"size": "native", "fit": "surround", "multiple": 16},
        {"size": "native", "fit": "shrink"},
        {"size": "area:40"},
    ],
)
@pytest.mark.parametrize("size", [(53, 38), (40, 40), (19, 61)])
def test_flip(rows, config, size):
    image = noise_image(*size)
    cut = rows(image, Views(flip=True), **config)
    assert cut.keys() == {"original", "flipped"}
    assert np.array_equal(cut["original"], preprocess(image, PreprocessingConfig(**config), 8))
    if config["size"] == 32 and "crop" not in config:
        assert np.array_equal(cut["flipped"], cut["original"][:, ::-1])
    else:  # resizing the mirror image may round a value differently
        expected = preprocess(ImageOps.mirror(image), PreprocessingConfig(**config), 8)
        assert np.abs(cut["flipped"].astype(int) - expected).max() <= (0 if config["size"] == "native" else 1)


def test_keys_come_back():
    assert image_key(row_key("a_middle", "middle"), {"view": "middle"}) == "a_middle"
    assert image_key("a_middle", {}) == "a_middle"
    names = Views(crops="ten").names
    keys = [row_key(key, name) for key in ("a", "a_middle", "a_middle-flipped") for name in names]
    assert len(set(keys)) == len(keys)


def test_options():
    assert parse_views("one", None, False).names == ()
    assert parse_views("ten", 1.05, False).options()["--crops"] == "ten --resize-ratio 1.05"
    for options, sentence in {
        ("five", None, False): "--crops is 'five', but must be one or ten.",
        ("ten", None, True): "--crops ten has the mirror images already: leave --flip out.",
        ("one", 1.1, False): "--resize-ratio is for ten crops: give --crops ten too, or leave it out.",
        ("ten", 0.9, False): "--resize-ratio is 0.9, but must be from 1 to 8, such as 1.1 or 1.05.",
        ("ten", float("nan"), False): "--resize-ratio is nan, but must be from 1 to 8, such as 1.1 or 1.05.",
    }.items():
        with pytest.raises(ValueError) as error:
            parse_views(*options)
        assert str(error.value) == sentence
