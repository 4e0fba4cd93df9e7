"""Folders of diffusers' VQModel: the same tokens and images, or the first reason why not."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import vistok
from exports import VQGAN, export, vqgan_folder
from golden_weights import golden_case
from samples import PHOTOS
from vistok.inference.commands.import_tokenizer import app as import_app
from vistok.pretrained.exporters.diffusers_format import DiffusersExporter
from vistok.pretrained.importers.card import digests
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.folder.config_json import read_tokenizer_config
from vistok.tokenizer.folder.save_load import load_tokenizer

SIDE = VQGAN["encoder"]
SIMVQ = {"name": "simvq", "dim": 6, "codebook_size": 100}


@pytest.mark.parametrize("changes", [{}, {"pixel_values": [0.0, 1.0]}])
def test_a_vqmodel_gives_the_same_tokens_and_images(tmp_path, changes):
    pytest.importorskip("diffusers")
    folder = vqgan_folder(tmp_path / "vqgan", quantizer=SIMVQ, **changes)
    said = export(folder, "--format", "diffusers", "--out", tmp_path / "out", "--data", PHOTOS / "coffee.jpg")
    assert "config.json, diffusion_pytorch_model.safetensors" in said
    assert "64 of 64 (100.000%) as in float32, on 1 photo from coffee.jpg" in said

    pixels = torch.rand(2, 3, 24, 32)
    tokenizer = vistok.load(str(folder), device="cpu")
    tokens = tokenizer.encode(pixels)
    assert len(tokens.unique()) > 10
    program = DiffusersExporter().load(tmp_path / "out")
    black, white = changes.get("pixel_values", [-1, 1])
    assert torch.equal(program.encode(pixels * (white - black) + black), tokens)
    images = (program.decode(tokens) - black) / (white - black)
    torch.testing.assert_close(images.clamp(0, 1), tokenizer.decode(tokens, output="tensor"), atol=1e-5, rtol=0)


def test_every_weight_has_a_place_in_a_vqmodel(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    folder = vqgan_folder(tmp_path / "vqgan")
    export(folder, "--format", "diffusers", "--out", tmp_path / "out")
    _, info = diffusers.VQModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    card = (tmp_path / "out" / "README.md").read_text()
    assert "black -1, white 1" in card and "VQModel.from_pretrained" in card
    assert json.loads((tmp_path / "out" / "vistok.json").read_text())["pixels"]["black"] == -1


@pytest.mark.skipif("diffusers" not in IMPORTERS, reason="no importer of the family diffusers yet")
def test_the_importer_reads_what_the_exporter_wrote(tmp_path):
    pytest.importorskip("diffusers")
    from vistok.pretrained.importers.import_checkpoint import import_checkpoint

    folder = vqgan_folder(tmp_path / "vqgan")
    export(folder, "--format", "diffusers", "--out", tmp_path / "out")
    import_checkpoint(tmp_path / "out" / "diffusion_pytorch_model.safetensors", tmp_path / "back", "diffusers")
    before, after = load_tokenizer(folder).model.state_dict(), load_tokenizer(tmp_path / "back").model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


REASONS = [
    ({"norm": "pixel"}, None, "its norm is pixel, not group"),
    ({"resampling": "shuffle"}, None, "its resampling is shuffle, not strided"),
    ({"stem": 2}, None, "its stem is 2, not 1"),
    (
        {"quantizer_convolutions": False},
        {"name": "vq", "dim": 12, "codebook_size": 99},
        "its quantizer_convolutions is false",
    ),
    ({"quantizer_kernel": 3}, None, "its quantizer_kernel is 3, not 1"),
    (
        {"decoder": {**VQGAN["decoder"], "blocks": [1, 1, 1]}},
        None,
        "its decoder has 1 blocks a level, not one more than",
    ),
    (
        {"decoder": {**VQGAN["decoder"], "blocks": [2, 2, 3]}},
        None,
        "its decoder has [2, 2, 3] blocks, not the same number at",
    ),
    ({"decoder": {**VQGAN["decoder"], "channels": [64, 32, 64]}}, None, "and its decoder [64, 32, 64], not the same"),
    ({"encoder": {**SIDE, "middle": False}}, None, "its encoder has middle false, which a VQModel does not have"),
    ({}, {"name": "fsq", "levels": [5, 5, 5]}, "its quantizer is fsq, which has no table of codes"),
    ({}, {**SIMVQ, "similarity": "cosine"}, "its quantizer compares by cosine, not by euclidean distance"),
    ({}, {**SIMVQ, "squash": "tanh"}, "its quantizer has squash 'tanh', not 'none'"),
]


@pytest.mark.parametrize(("changes", "quantizer", "reason"), REASONS)
def test_what_a_vqmodel_cannot_hold_is_one_sentence(tmp_path, monkeypatch, changes, quantizer, reason):
    monkeypatch.setattr(DiffusersExporter, "packages", ())
    folder = vqgan_folder(tmp_path / "vqgan", quantizer, **changes)
    said = export(folder, "--format", "diffusers", "--out", tmp_path / "out", code=2)
    assert "A VQModel of diffusers cannot hold this tokenizer: " in said and reason in said
    assert [path.name for path in tmp_path.iterdir()] == ["vqgan"]


def imported(checkpoint, out, *arguments):
    called = CliRunner().invoke(import_app, [str(checkpoint), "--out", str(out), "--json", *arguments])
    assert called.exit_code == 0, called.stderr
    return json.loads(called.stdout)


@pytest.mark.parametrize("quantizer", [None, SIMVQ, {"name": "ema", "dim": 6, "codebook_size": 100}])
@pytest.mark.parametrize("middle_attention", [True, False])
@pytest.mark.parametrize("pixel_values", [[-1.0, 1.0], [0.0, 1.0], [-2.0, 1.5]])
def test_an_export_comes_back_with_the_same_fingerprint(tmp_path, quantizer, middle_attention, pixel_values):
    pytest.importorskip("diffusers")
    sides = {side: {**VQGAN[side], "middle_attention": middle_attention} for side in ("encoder", "decoder")}
    folder = vqgan_folder(tmp_path / "vqgan", quantizer, pixel_values=pixel_values, **sides)
    export(folder, "--format", "diffusers", "--out", tmp_path / "out")
    before = vistok.load(str(folder), device="cpu")
    for given in (tmp_path / "out", tmp_path / "out" / "diffusion_pytorch_model.safetensors"):
        said = imported(given, tmp_path / f"back-{given.name}")
        after = vistok.load(said["tokenizer"], device="cpu")
        assert said["fingerprint"] == before.fingerprint == after.fingerprint and not said["doubt"]
        assert after.config.preprocessing == before.config.preprocessing
        card = (tmp_path / f"back-{given.name}" / "README.md").read_text()
        assert "its settings are those of the `vistok.json` beside it" in card and "does not say" not in card
    assert json.loads((tmp_path / "out" / "vistok.json").read_text())["fingerprint"] == before.fingerprint


def test_an_imported_tokenizer_comes_back_with_its_settings_and_licence(tmp_path):
    """Without attention in the middle, where the importer would guess another range."""
    pytest.importorskip("diffusers")
    _, weights = golden_case("diffusers/small")
    save_file(weights, tmp_path / "a.safetensors")
    settings = ("architecture.pixel_values=[-1,1]", "preprocessing.size=64", "preprocessing.fit=repeat")
    first = imported(
        tmp_path / "a.safetensors", tmp_path / "first", *(part for each in settings for part in ("--set", each))
    )
    assert not first["doubt"]
    export(tmp_path / "first", "--format", "diffusers", "--out", tmp_path / "out")
    second = imported(tmp_path / "out", tmp_path / "second")
    assert second["fingerprint"] == first["fingerprint"] and not second["doubt"]
    assert read_tokenizer_config(tmp_path / "second") == read_tokenizer_config(tmp_path / "first")


GUESS = (
    "The checkpoint does not say which range its pixels have: [{}, 1] was assumed. vistok takes [0, 1] where the middle of the "
    "networks has no attention, as in aMUSEd, and [-1, 1] where it has; import it with --set "
    "architecture.pixel_values=[{},1] if that is wrong."
)


@pytest.mark.parametrize(("name", "taken", "other"), [("small", 0, -1), ("small_with_attention", -1, 0)])
def test_a_range_that_is_assumed_is_said(tmp_path, name, taken, other):
    save_file(golden_case(f"diffusers/{name}")[1], tmp_path / "a.safetensors")
    guess = GUESS.format(taken, other)
    assert imported(tmp_path / "a.safetensors", tmp_path / "a")["doubt"] == guess
    assert guess in (tmp_path / "a" / "README.md").read_text()
    said = CliRunner().invoke(import_app, [str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "b")])
    assert said.stderr == f"import-tokenizer: {guess}\n"
    setting = f"architecture.pixel_values=[{other},1]"
    assert not imported(tmp_path / "a.safetensors", tmp_path / "c", "--set", setting)["doubt"]
    assert read_tokenizer_config(tmp_path / "c").architecture.pixel_values == (other, 1)


def test_a_vistok_json_of_other_weights_is_not_believed(tmp_path):
    pytest.importorskip("diffusers")
    export(
        vqgan_folder(tmp_path / "vqgan", pixel_values=[0.0, 1.0]), "--format", "diffusers", "--out", tmp_path / "out"
    )
    facts = tmp_path / "out" / "vistok.json"
    whole = json.loads(facts.read_text())
    stale = f"{facts} was not written for these weights, and was not used. {GUESS.format(-1, 0)}"
    for index, change in enumerate(({"sha256": {}}, {"sha256": None}, {"format": "onnx"})):
        facts.write_text(json.dumps(whole | change))
        assert imported(tmp_path / "out", tmp_path / str(index))["doubt"] == stale
    facts.write_text(json.dumps(whole))
    weights = tmp_path / "out" / "diffusion_pytorch_model.safetensors"
    save_file({name: value * 2 for name, value in load_file(weights).items()}, weights)
    assert imported(tmp_path / "out", tmp_path / "other")["doubt"] == stale
    facts.write_text(json.dumps(whole | {"config": {"quantizer": 1}, "sha256": digests([weights])}))
    called = CliRunner().invoke(import_app, [str(tmp_path / "out"), "--out", str(tmp_path / "x")])
    assert called.exit_code == 2 and called.stderr.startswith(f"import-tokenizer: {facts} is damaged (")
    assert called.stderr.endswith("): export again, or move it away.\n") and not (tmp_path / "x").exists()
