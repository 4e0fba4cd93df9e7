"""Each layout has the preprocessing that was published with it."""

import itertools

import pytest

from vistok.pretrained.importers import table
from vistok.pretrained.importers.base import Importer

SQUARE = {"size": 256, "resampling": "linear"}
DIFFUSERS = {"size": "native", "fit": "shrink", "resampling": "lanczos"}
JANUS = {"size": 384, "crop": "none", "background": (127, 127, 127)}
CHAMELEON = {"size": 512, "resampling": "lanczos", "blending": "truncated"}
TORCHVISION = {"crop": "even_centre", "rounding": "down"}
VAR = TORCHVISION | {"resize_ratio": 1.125, "resampling": "lanczos"}
PUBLISHED = {
    "EMU35": {"size": "area:512"},
    "APERTUS": {"size": "area:128-1400"},
    "LLAMAGEN": {"size": 256, "halve_first": True},
    "JANUS": JANUS | {"rounding": "down"},
    "JANUS_OF_TRANSFORMERS": JANUS,
    "TAMING": SQUARE,
    "TAMING_GUMBEL": SQUARE,
    "IBQ": SQUARE,
    "CHAMELEON": CHAMELEON,
    "CHAMELEON_OF_TRANSFORMERS": CHAMELEON | {"rounding": "down"},
    "DIFFUSERS": DIFFUSERS,
    "OLD_DIFFUSERS": DIFFUSERS,
    "DIFFUSERS_WITHOUT_MIDDLE_ATTENTION": DIFFUSERS,
    "MASKGIT": TORCHVISION,
    "OPEN_MAGVIT2": SQUARE,
    "OPEN_MAGVIT2_AT_128": SQUARE | {"size": 128},
    "SIMVQ": SQUARE | {"size": 128},
    "WETOK": SQUARE,
    "EMU3": {"size": "area:512-1024"},
    "EMU3_OF_TRANSFORMERS": {"size": "area:512-1024"},
    "COSMOS": {"size": "native", "fit": "surround", "multiple": 16, "background": (0, 0, 0)},
    "VAR": VAR,
    "UNITOK": VAR | {"resampling": "bilinear"},
    "MUSE": TORCHVISION | {"resampling": "bilinear"},
}
LAYOUTS = {name: value for name, value in vars(table).items() if isinstance(value, Importer)}
SIZED_BY_SHAPES = {"TITOK", "TITOK_WITH_SOFT_CODES"}
"""Their networks take images of one size, which the shapes of the checkpoint give: see test_titok."""


def test_every_layout_is_here():
    assert LAYOUTS.keys() == PUBLISHED.keys() | SIZED_BY_SHAPES
    assert sorted(map(id, LAYOUTS.values())) == sorted(map(id, itertools.chain(*table.IMPORTERS.values())))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_preprocessing_is_as_published_and_leaves_colour_profiles_alone(name):
    translation = LAYOUTS[name].translation
    settings = getattr(translation, "networks", translation).preprocessing.model_dump(exclude_defaults=True)
    assert settings == {key: value for key, value in PUBLISHED[name].items() if value != 256} | {"colour": "ignore"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("EMU35", "at an area of about 512 x 512 pixels"),
        ("EMU35", "truncates decoded pixels to whole numbers; vistok rounds them"),
        ("APERTUS", "their size from an area of 128 x 128 to one of 1400 x 1400 pixels"),
        ("LLAMAGEN", "halved with a box filter before the bicubic resize"),
        ("JANUS", "padded to a square with grey (127)"),
        ("JANUS_OF_TRANSFORMERS", "transformers resizes tensors with torchvision"),
        ("TAMING", "resized bilinearly without antialiasing, as OpenCV does"),
        ("IBQ", "resized bilinearly without antialiasing, as OpenCV does"),
        ("OPEN_MAGVIT2", "resized bilinearly without antialiasing, as OpenCV does"),
        ("WETOK", "resized bilinearly without antialiasing, as OpenCV does"),
        (
            "MASKGIT",
            "TiTok's code resizes with a bicubic filter, as vistok does here, and open-muse with a bilinear one",
        ),
        ("CHAMELEON", "blended onto white, and the result is truncated to whole numbers"),
        ("CHAMELEON_OF_TRANSFORMERS", "multiplies pixels by 0.0078"),
        ("DIFFUSERS", "sides that are rounded down to multiples of the downsampling, with a Lanczos filter"),
        ("EMU3", "their size from an area of 512 x 512 to one of 1024 x 1024 pixels"),
        ("EMU3_OF_TRANSFORMERS", "transformers resizes tensors with torchvision"),
        ("COSMOS", "padded with black to multiples of 16 pixels, half of it before the image"),
        ("VAR", "resized to 288 pixels, and the middle 256 are cropped"),
        ("MUSE", "torchvision's rounding and its antialiased bilinear filter"),
    ],
)
def test_the_notes_of_the_card_say_what_is_odd(name, words):
    assert words in " ".join(LAYOUTS[name].notes)
