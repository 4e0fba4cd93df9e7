"""Names and shapes tell the families apart; where they do not, the user is asked."""

import json

import pytest
import torch
from typer.testing import CliRunner

from golden_weights import GOLDEN, golden_case
from vistok.inference.commands.import_tokenizer import app
from vistok.pretrained.importers.checkpoint import Checkpoint
from vistok.pretrained.importers.layout import layouts
from vistok.pretrained.importers.table import IMPORTERS

CASES = sorted(str(path.relative_to(GOLDEN).with_suffix("")) for path in GOLDEN.glob("*/*.json"))
LOSS = {"loss.logvar": (), "loss.discriminator.main.0.weight": (2, 3, 4, 4)}
"""What published files of taming hold besides the tokenizer."""
AVERAGE = {"model_ema.decay": (), "model_ema.encoderconv_inweight": (32, 3, 3, 3)}


def shapes_of(name):
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    live = case["tensors"]
    shapes = live | {name: live[key] for name, key in case.get("averaged", {}).items()} | case["ignored"]
    return {key: tuple(shape) for key, shape in shapes.items()} | (LOSS if name.startswith("taming") else {})


def recognised(shapes):
    """Return the families that say that a checkpoint may be theirs."""
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return [layout.family for layout in layouts(IMPORTERS, Checkpoint(tensors, {})) if layout.is_recognised()]


@pytest.mark.parametrize("name", CASES)
def test_each_golden_case_is_of_its_own_family_or_of_none(name):
    family = name.split("/")[0]
    assert recognised(shapes_of(name)) == ([family] if family in IMPORTERS else [])


def without(shapes, *parts):
    return {name: shape for name, shape in shapes.items() if not any(part in name for part in parts)}


def with_codes(shapes, codes, dim):
    return shapes | {"quantize.embedding.weight": (codes, dim), "quant_conv.weight": (dim, 64, 1, 1)}


def with_blocks(shapes, count):
    new = {f"encoder.down.0.block.{block}.conv1.weight": (32, 32, 3, 3) for block in range(count)}
    return shapes | new


TAMING = shapes_of("taming/small")
BARE = without(TAMING, "loss.")
EMU = shapes_of("emu3.5/small")


@pytest.mark.parametrize(
    ("shapes", "families"),
    [
        (with_codes(BARE, 16384, 256), ["taming"]),  # stored again without the loss
        (BARE, ["taming", "ibq"]),
        (with_blocks(TAMING, 4), ["taming", "ibq"]),
        (with_blocks(TAMING, 4) | AVERAGE, ["ibq"]),
        (EMU | {"encoder.down.0.block.0.conv1.weight": (128, 128, 3, 3)}, ["emu3.5", "ibq"]),  # IBQ without averages
        (without(TAMING, ".attn."), ["taming", "chameleon"]),
        (with_codes(without(TAMING, ".attn."), 8192, 256), ["chameleon"]),
        (with_codes(without(TAMING, ".attn."), 8192, 3), ["taming"]),  # latent diffusion's f4
        (with_codes(without(BARE, ".attn."), 8192, 3), ["taming"]),
        (without(BARE, ".attn.", "attn_1"), ["muse"]),
        (without(BARE, "decoder."), []),
        (without(BARE, ".attn.", "decoder."), ["chameleon"]),
        (TAMING | {"decoder.up.0.upsample.conv.weight": (128, 128, 3, 3)}, ["llamagen"]),
        (TAMING | {"encoder.mid.attn_1.qkv.weight": (384, 128, 1, 1)}, []),
    ],
)
def test_families_with_the_same_names_are_told_apart_by_what_else_there_is(shapes, families):
    assert recognised(shapes) == families


def test_in_doubt_the_user_is_asked_and_the_family_decides_the_rule(tmp_path):
    _, weights = golden_case("taming/small")
    path = tmp_path / "a.pt"
    torch.save(weights, path)
    called = CliRunner().invoke(app, [str(path), "--out", str(tmp_path / "out")])
    assert called.exit_code == 2
    assert f"{path} may be of the families taming and ibq: name one before the checkpoint." in called.stderr
    for family, similarity in (("taming", "euclidean"), ("ibq", "dot"), ("emu3.5", "dot"), ("chameleon", "euclidean")):
        out = tmp_path / family
        called = CliRunner().invoke(app, [family, str(path), "--out", str(out)])
        assert called.exit_code == 0, called.stderr
        assert f'"similarity": "{similarity}"' in (out / "config.json").read_text()
