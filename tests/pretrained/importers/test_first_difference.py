"""Whichever tensor is missing or has another shape, the sentence names it."""

import json
import random
import re

import pytest
import torch

from golden_weights import GOLDEN
from vistok.pretrained.importers.base import Shapes
from vistok.pretrained.importers.checkpoint import Checkpoint
from vistok.pretrained.importers.first_difference import layer_that_differs, with_source
from vistok.pretrained.importers.fit import problem
from vistok.pretrained.importers.layout import layouts
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.wording import shortened

CASES = {str(path.relative_to(GOLDEN))[:-5]: json.loads(path.read_text()) for path in sorted(GOLDEN.rglob("*.json"))}
COUNTED = re.compile(
    r".*\d\.(conv1|conv1\.conv|conv3_1x1|norm1|ln_1|proj_out|to_out\.0|out_proj|upsample.*|downsample.*)\.weight|"
    r"(quant_conv|decoder\.conv_in|quantizer\.codebooks\.\d\.codebook|quant_proj\.attn\.qkv)\.weight"
)
"""Tensors by which modules are counted."""
SAMPLE = 3


def layout_of(case, settings):
    """Return the reading of a golden case that fits, with tensors on meta."""
    shapes = case["tensors"] | {name: case["tensors"][live] for name, live in case.get("averaged", {}).items()}
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    for layout in layouts(IMPORTERS, Checkpoint(tensors, {})):
        if layout.is_recognised() and problem(layout, settings) is None:
            return layout
    raise AssertionError("no layout fits")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "tensors" in case])
def test_the_tensor_that_differs_is_named(name):
    """A sample of the tensors of each case, and of those by which modules are counted."""
    settings = {"v_patch_nums": [1, 2, 3, 4, 5, 8]} if name == "var/small" else {}
    layout, chance = layout_of(CASES[name], settings), random.Random(name)
    needed = sorted(each for each in layout.tensors if not each.startswith("model_ema."))
    counted = [each for each in needed if COUNTED.fullmatch(each)]
    for missing in {*chance.sample(needed, SAMPLE), *chance.sample(counted, min(SAMPLE, len(counted)))}:
        left = {each: tensor for each, tensor in layout.tensors.items() if each != missing}
        assert problem(layout._replace(tensors=left), settings) == f"it has no tensor {layout.in_file(missing)}"
    for changed in chance.sample([each for each in needed if "embedding" not in each], SAMPLE):
        shape = list(layout.tensors[changed].shape)
        shape[chance.randrange(len(shape))] += 1
        wrong = layout.tensors | {changed: torch.empty(shape, device="meta")}
        assert layout.in_file(changed) in problem(layout._replace(tensors=wrong), settings)


def test_a_module_without_the_tensor_that_all_such_modules_have():
    shapes = Shapes({"a.0.conv.weight": (3,), "a.0.norm.weight": (3,), "a.1.norm.weight": (3,), "b": (2,)})
    assert shapes.has("a.0", "conv.weight") and not shapes.has("c", "conv.weight") and not shapes.has("b", "weight")
    assert shapes.count("a.{}", "norm.weight") == 2 and shapes.count("c.{}", "norm.weight") == 0
    with pytest.raises(ValueError, match=r"^it has no tensor a\.1\.conv\.weight$"):
        shapes.has("a.1", "conv.weight")
    with pytest.raises(ValueError, match=r"^it has no tensor a\.1\.conv\.weight$"):
        shapes.count("a.{}", "conv.weight")


def test_a_gap_among_modules():
    shapes = Shapes({f"a.{index}.weight": (3,) for index in (0, 1, 999999999)})
    with pytest.raises(ValueError, match=r"^it has no tensor a\.2\.weight$"):
        shapes.count("a.{}", "weight")


def test_the_tensor_with_the_rarest_number_is_named():
    shapes = Shapes({"a.weight": (64, 32), "b.weight": (66, 64), "c.weight": (64, 64)})
    assert [shapes.rows(name) for name in shapes] == [64, 66, 64]
    assert str(with_source("channels has 66, not 64", shapes)) == (
        "its tensor b.weight has the shape (66, 64), so channels has 66, not 64"
    )
    assert str(with_source("there are 32", shapes)) == "there are 32"  # nobody asked for that size
    assert str(with_source("channels is [], but must be a list of 66 or more", shapes)).startswith(
        "channels is [], but"
    )
    assert str(with_source("there are too few", shapes)) == "there are too few"


def test_a_layer_whose_weight_and_bias_differ():
    assert layer_that_differs(Shapes({"a.weight": (64, 32), "a.bias": (64,), "b.weight": (3, 3)})) is None
    assert str(layer_that_differs(Shapes({"a.weight": (66, 32), "a.bias": (64,)}))) == (
        "its tensors a.weight and a.bias have the shapes (66, 32) and (64,), which are not those of one layer"
    )


def test_long_names_are_shortened_in_the_middle():
    name = "a" * 450 + "b" * 450
    assert shortened("short") == "short"
    assert len(shortened(name)) == 120 and re.fullmatch("a+[.]{3}b+", shortened(name))
    with pytest.raises(ValueError, match=r"^it has no tensor a+\.\.\.b+$"):
        Shapes({}).rows(name)
