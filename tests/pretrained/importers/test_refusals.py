"""A checkpoint that cannot be imported is said to be of the nearest family, with the first difference."""

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from golden_weights import golden_case
from vistok.inference.commands.import_tokenizer import app
from vistok.pretrained.importers.checkpoint import read_checkpoint
from vistok.pretrained.importers.layout import layouts
from vistok.pretrained.importers.llamagen import LLAMAGEN
from vistok.pretrained.importers.nearest import nearest
from vistok.pretrained.importers.table import IMPORTERS
from vistok.pretrained.importers.taming import TAMING

UNSURE = TAMING._replace(recognises=lambda shapes: False)
"""Names and shapes never show that a checkpoint is taming's."""


@pytest.fixture(autouse=True)
def two_families():
    """The sentences are those of two families, whichever else there are."""
    before = dict(IMPORTERS)
    IMPORTERS.clear()
    IMPORTERS.update({"llamagen": (LLAMAGEN,), "taming": (UNSURE,)})
    yield
    IMPORTERS.clear()
    IMPORTERS.update(before)  # in their order


@pytest.fixture(scope="module")
def llamagen():
    return golden_case("llamagen/small_f8")[1]


@pytest.fixture(scope="module")
def taming():
    return golden_case("taming/small")[1]


@pytest.fixture
def refusal(tmp_path):
    def call(weights, *family):
        path = tmp_path / "a.safetensors"
        save_file({name: value.contiguous() for name, value in weights.items()}, path)
        called = CliRunner().invoke(app, [*family, str(path), "--out", str(tmp_path / "out")])
        assert called.exit_code == 2 and called.stderr.count("\n") == 1
        assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]
        return called.stderr.removeprefix(f"import-tokenizer: {path} ").rstrip("\n")

    return call


def without(weights, *names):
    return {name: value for name, value in weights.items() if name not in names}


MISSING = "decoder.mid.block_1.conv2.bias"


def test_the_tensors_of_another_family(refusal, taming):
    said = refusal(taming, "llamagen")
    assert said.startswith("is not a checkpoint of llamagen (") and said.endswith("): its tensors are those of taming.")


def test_nearly_another_family(refusal, taming):
    assert refusal(without(taming, MISSING), "llamagen") == (
        f"is not a checkpoint of llamagen: the nearest family is taming, but it has no tensor {MISSING}."
    )


def test_nearly_the_family_that_was_given(refusal, taming):
    assert refusal(without(taming, MISSING), "taming") == f"cannot be imported as taming: it has no tensor {MISSING}."


def test_nearly_a_family_when_none_is_given(refusal, taming):
    assert refusal(without(taming, MISSING)) == (
        f"is not a checkpoint of a known family: the nearest is taming, but it has no tensor {MISSING}."
    )


def test_the_nearest_even_where_its_config_cannot_be_read(refusal, taming):
    """An autoencoder of latent diffusion without a codebook has the layers of taming's."""
    for family, beginning in (("llamagen", "is not a checkpoint of llamagen: the nearest family"), ((), "is not a")):
        said = refusal(without(taming, "quantize.embedding.weight"), *([family] if family else []))
        assert said.startswith(beginning)
        assert "is taming, but it has no tensor quantize.embedding.weight." in said


def test_tensors_that_fit_a_family_but_do_not_show_it(refusal, taming):
    assert refusal(taming) == (
        "has tensors that fit taming, but does not show which it is: name the family before the checkpoint."
    )


def test_a_family_that_is_always_part_of_another_model(refusal, taming, monkeypatch):
    monkeypatch.setitem(IMPORTERS, "part", (TAMING._replace(is_part=True, prefixes=("vq.",)),))
    assert refusal(taming, "part") == "cannot be imported as part: it has none of the prefixes of its tensors."


def test_fewer_names_fit_the_more_are_missing(llamagen, tmp_path):
    fits = []
    for count in (0, 5, 20):
        save_file(dict(list(llamagen.items())[: len(llamagen) - count]), tmp_path / "a.safetensors")
        checkpoint = read_checkpoint(tmp_path / "a.safetensors")
        fits.append(nearest(layouts({"llamagen": IMPORTERS["llamagen"]}, checkpoint), {}).fits)
    assert fits[0] == 1 and fits[0] > fits[1] > fits[2]


def test_shapes_that_ask_for_more_than_any_memory(refusal, llamagen):
    """Sizes come from shapes; a tensor without values may have any."""
    huge = llamagen | {"encoder.conv_out.weight": torch.empty(2**40, 0)}
    assert refusal(huge, "llamagen").startswith("cannot be imported as llamagen: ")
