"""Each layout has the preprocessing that was published with it."""

import pytest

from vistok.pretrained.importers.table import IMPORTERS

SQUARE = {"size": 256, "resampling": "linear"}
DIFFUSERS = {"size": "native", "fit": "shrink", "resampling": "lanczos"}
JANUS = {"size": 384, "crop": "none", "background": (127, 127, 127)}
CHAMELEON = {"size": 512, "resampling": "lanczos", "blending": "truncated"}
TORCHVISION = {"crop": "even_centre", "rounding": "down"}
VAR = TORCHVISION | {"resize_ratio": 1.125, "resampling": "lanczos"}
PUBLISHED = {
    "Emu35": {"size": "area:512"},
    "Apertus": {"size": "area:128-1400"},
    "LlamaGen": {"size": 256, "halve_first": True},
    "Janus": JANUS | {"rounding": "down"},
    "JanusOfTransformers": JANUS,
    "Taming": SQUARE,
    "TamingGumbel": SQUARE,
    "IBQ": SQUARE,
    "Chameleon": CHAMELEON,
    "ChameleonOfTransformers": CHAMELEON | {"rounding": "down"},
    "Diffusers": DIFFUSERS,
    "OldDiffusers": DIFFUSERS,
    "DiffusersWithoutMiddleAttention": DIFFUSERS,
    "MaskGIT": TORCHVISION,
    "OpenMagvit2": SQUARE,
    "OpenMagvit2At128": SQUARE | {"size": 128},
    "SimVQ": SQUARE | {"size": 128},
    "WeTok": SQUARE,
    "Emu3": {"size": "area:512-1024"},
    "Emu3OfTransformers": {"size": "area:512-1024"},
    "Cosmos": {"size": "native", "fit": "surround", "multiple": 16, "background": (0, 0, 0)},
    "VAR": VAR,
    "UniTok": VAR | {"resampling": "bilinear"},
    "Muse": TORCHVISION | {"resampling": "bilinear"},
}
LAYOUTS = {type(layout).__name__: layout for layouts in IMPORTERS.values() for layout in layouts}
SIZED_BY_SHAPES = {"TiTok", "TiTokWithSoftCodes"}
"""Their networks take images of one size, which the shapes of the checkpoint give: see test_titok."""


def test_every_layout_is_here():
    assert LAYOUTS.keys() == PUBLISHED.keys() | SIZED_BY_SHAPES


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_preprocessing_is_as_published_and_leaves_colour_profiles_alone(name):
    settings = LAYOUTS[name].preprocessing.model_dump(exclude_defaults=True)
    assert settings == {key: value for key, value in PUBLISHED[name].items() if value != 256} | {"colour": "ignore"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Emu35", "at an area of about 512 x 512 pixels"),
        ("Emu35", "truncates decoded pixels to whole numbers; vistok rounds them"),
        ("Apertus", "their size from an area of 128 x 128 to one of 1400 x 1400 pixels"),
        ("LlamaGen", "halved with a box filter before the bicubic resize"),
        ("Janus", "padded to a square with grey (127)"),
        ("JanusOfTransformers", "transformers resizes tensors with torchvision"),
        ("Taming", "resized bilinearly without antialiasing, as OpenCV does"),
        ("IBQ", "resized bilinearly without antialiasing, as OpenCV does"),
        ("OpenMagvit2", "resized bilinearly without antialiasing, as OpenCV does"),
        ("WeTok", "resized bilinearly without antialiasing, as OpenCV does"),
        (
            "MaskGIT",
            "TiTok's code resizes with a bicubic filter, as vistok does here, and open-muse with a bilinear one",
        ),
        ("Chameleon", "blended onto white, and the result is truncated to whole numbers"),
        ("ChameleonOfTransformers", "multiplies pixels by 0.0078"),
        ("Diffusers", "sides that are rounded down to multiples of the downsampling, with a Lanczos filter"),
        ("Emu3", "their size from an area of 512 x 512 to one of 1024 x 1024 pixels"),
        ("Emu3OfTransformers", "transformers resizes tensors with torchvision"),
        ("Cosmos", "padded with black to multiples of 16 pixels, half of it before the image"),
        ("VAR", "resized to 288 pixels, and the middle 256 are cropped"),
        ("Muse", "torchvision's rounding and its antialiased bilinear filter"),
    ],
)
def test_the_notes_of_the_card_say_what_is_odd(name, words):
    assert words in " ".join(LAYOUTS[name].notes)
