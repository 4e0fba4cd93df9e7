"""An extra decoder by finetune-tokenizer: stages, resume, the result, and what is refused."""

import hashlib
import json
import re
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import vistok
from golden_weights import golden_case
from runs import finetune
from samples import PHOTOS
from vistok.pretrained.importers.import_checkpoint import import_checkpoint
from vistok.tokenizer.folder.decoders import decoder_names, load_decoder
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.train.finetune import run as finetune_run
from vistok.train.finetune.options import finetune_config

SMALL = "{channels: [8, 12], blocks: 1, time_channels: 8}"
QUICK = [
    f"generative.network={SMALL}",
    "generative.flow.steps=4",
    "generative.distill.steps=2",
    "generative.fgm.steps=2",
]
QUICK += ["generative.fgm.recipe.penalty=1.0", "data.batch_size=4"]
DECODER = ["--decoder", "generative", *(part for value in QUICK for part in ("--set", value))]


@pytest.fixture(scope="module")
def distilled(fsq_folder, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled")
    return folder, finetune(fsq_folder, photos, folder, *DECODER)


def files_of(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and "generative" not in path.parts]
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def decoder_file(folder):
    return folder / "export" / "decoders" / "generative" / "model.safetensors"


def test_the_result_is_the_tokenizer_with_a_decoder_and_its_card(distilled, fsq_folder, photos):
    folder, said = distilled
    assert files_of(folder / "export") == files_of(fsq_folder)
    assert "plain" in said and "generative" in said and "1 of 8 images are held out" in said
    metrics = json.loads((folder / "metrics.json").read_text())
    plain, new = metrics["decoders"]["plain"], metrics["decoders"]["generative"]
    assert metrics["fingerprint"] == vistok.load(fsq_folder).fingerprint and plain["psnr"] != new["psnr"]
    model = load_tokenizer(folder / "export").model
    decoder = load_decoder(folder / "export", "generative", model)
    assert decoder.card.figures["psnr"] == new["psnr"] and decoder.card.plain["psnr"] == plain["psnr"]
    assert decoder.card.images == metrics["images"] == 1 and decoder.card.milliseconds > 0
    kinds = {value.dtype for value in load_file(decoder_file(folder)).values() if value.is_floating_point()}
    assert kinds == {torch.float16}
    assert decoder.steps == 1
    page = (folder / "report.html").read_text()
    for words in ("Plain and new decoder", "Samples over time, stage distill", "flow: Losses", "distill: Losses"):
        assert words in page
    assert "Use of the codebook" not in page  # it is frozen
    tokens = vistok.load(fsq_folder).encode(PHOTOS / "coffee.jpg")
    tokenizer = vistok.load(folder / "export")
    assert torch.equal(tokens, tokenizer.encode(PHOTOS / "coffee.jpg"))
    assert torch.equal(tokenizer.decode(tokens, "tensor"), vistok.load(fsq_folder).decode(tokens, "tensor"))


def test_the_stages_hand_on_decoder_and_teacher(distilled, fsq_folder):
    folder, _ = distilled
    flow, distill = (
        yaml.safe_load((folder / "stages" / name / "config.yaml").read_text()) for name in ("flow", "distill")
    )
    assert flow["model"]["init_from"] == str(fsq_folder) and flow["model"]["train"] == []
    assert (
        distill["model"]["init_from"] == distill["decoder"]["recipe"]["teacher"] == str(folder / "stages/flow/export")
    )
    assert flow["losses"] == {"flow": 1.0} and distill["losses"] == {"distillation": 1.0}
    assert flow["data"]["short_sides"] == [64] and flow["data"]["size"] == 32


def copied(distilled, tmp_path):
    late = tmp_path / "late"
    shutil.copytree(distilled[0], late)
    text = (late / "finetune.yaml").read_text()
    (late / "finetune.yaml").write_text(text.replace(str(distilled[0]), str(late)))
    return late


def test_the_same_call_goes_on_and_another_recipe_adds_its_stage(distilled, fsq_folder, photos, tmp_path):
    late = copied(distilled, tmp_path)
    shutil.rmtree(late / "stages" / "distill")
    shutil.rmtree(late / "export")
    said = finetune(fsq_folder, photos, late, *DECODER)
    assert "stage distill: training the decoder generative for 2 steps" in said and "stage flow" not in said
    assert decoder_file(late).read_bytes() == decoder_file(distilled[0]).read_bytes()
    said = finetune(fsq_folder, photos, late, *DECODER, "--recipe", "fgm", "--steps", 3)
    assert "stage fgm: training the decoder generative for 3 steps" in said and "stage distill" not in said
    stage = yaml.safe_load((late / "stages" / "fgm" / "config.yaml").read_text())
    assert stage["decoder"]["recipe"]["penalty"] == 1.0 and stage["losses"] == {"matching": 1.0}
    assert stage["model"]["init_from"] == str(late / "stages/distill/export")
    assert stage["decoder"]["recipe"]["teacher"] == str(late / "stages/flow/export")
    assert decoder_file(late).read_bytes() != decoder_file(distilled[0]).read_bytes()
    assert "|teacher - fake network|" in (late / "report.html").read_text()
    refused = finetune(fsq_folder, photos, late, *DECODER, "--set", "generative.flow.lr=1", code=2)
    assert "holds a fine-tuning with another configuration" in refused


def test_steps_of_an_earlier_call_stay(distilled, tmp_path, fsq_folder):
    late = copied(distilled, tmp_path)
    arguments = {"model": str(fsq_folder), "data": ["x"], "out": late, "quantizer": None, "quantizer_keys": {}}
    arguments |= {"grow_to": None, "only": None, "val": [], "seed": 0, "overrides": [], "decoder": "generative"}
    config = finetune_config(**arguments, recipe="fgm", steps=7)
    steps = {name: getattr(config.generative, name).steps for name in ("flow", "distill", "fgm")}
    assert steps == {"flow": 4, "distill": 2, "fgm": 7} and config.generative.network.channels == [8, 12]
    other = finetune_config(**{**arguments, "decoder": "other"}, recipe="gan", steps=7)
    assert other.generative.gan.steps == 7 and other.generative.network is None


def test_a_gan_with_a_perceptual_network(fsq_folder, photos, tmp_path, perceptual):
    section = perceptual[1].partition("=")[2]
    options = ["--decoder", "sharp", "--recipe", "gan", "--steps", 2, "--set", f"generative.perceptual={section}"]
    finetune(fsq_folder, photos, tmp_path, *options, "--set", "generative.adversarial.start=0")
    line = json.loads((tmp_path / "stages/gan/metrics.jsonl").read_text().splitlines()[-2])
    assert {"loss/l1", "loss/perceptual", "loss/adversarial", "discriminator/loss"} <= set(line)
    model = load_tokenizer(tmp_path / "export").model
    assert load_decoder(tmp_path / "export", "sharp", model).config.name == "noise_channels"


def test_a_gan_that_is_to_keep_the_tokens_compares_latents_of_the_tokenizer_itself(fsq_folder, photos, tmp_path):
    losses = "generative.gan.losses={l1: 1.0, latent: 2.0}"
    finetune(fsq_folder, photos, tmp_path, "--decoder", "kept", "--recipe", "gan", "--steps", 2, "--set", losses)
    line = json.loads((tmp_path / "stages/gan/metrics.jsonl").read_text().splitlines()[-2])
    assert line["loss/total"] == pytest.approx(line["loss/l1"] + 2 * line["loss/latent"], rel=1e-5)
    stage = yaml.safe_load((tmp_path / "stages/gan/config.yaml").read_text())
    assert stage["criteria"] == {"latent": {"tokenizer": str(fsq_folder)}}


def test_an_imported_tokenizer_gets_a_decoder_in_two_steps(tmp_path):
    """Import, then train: its files stay byte for byte."""
    _, weights = golden_case("llamagen/small_f8")
    save_file({key: weight.contiguous() for key, weight in weights.items()}, tmp_path / "weights.safetensors")
    folder = tmp_path / "tokenizer"
    import_checkpoint(tmp_path / "weights.safetensors", folder, "llamagen")
    options = ["--decoder", "generative", "--recipe", "flow", "--steps", 1, "--set", f"generative.network={SMALL}"]
    finetune(folder, PHOTOS, tmp_path / "out", *options, "--set", "data.batch_size=1")
    assert files_of(tmp_path / "out" / "export") == files_of(folder)
    load_decoder(tmp_path / "out" / "export", "generative", load_tokenizer(tmp_path / "out" / "export").model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--quantizer", "fsq", "--levels", "5,5,5"],
            "stays as it is, but --quantizer is given too: do one after the other",
        ),
        (["--grow-to", 1000], "but --grow-to is given too"),
        (["--size", 32], "but --size is given too"),
        (["--only", "decoder"], "but --only is given too"),
        (["--recipe", "flows"], "did you mean 'flow'"),
        (
            ["--set", "generative.distill.losses={distillation: 1.0, perceptual: 1.0}"],
            "there is no network for it: give",
        ),
        (
            ["--set", "generative.distill.recipe.stepz=3"],
            "generative.distill.recipe.stepz is not a known key: did you mean 'steps'?",
        ),
        (
            ["--set", "generative.distill.losses={l1: 1.0}"],
            "generative.distill: losses.distillation has no weight: set losses.distillation (0 leaves it out).",
        ),
        (
            ["--set", "generative.distill.recipe.teacher=nowhere"],
            "nowhere is not a tokenizer folder: it has no config.json.",
        ),
        (["--set", "generative.perceptual={backbone: test_resnet, weights: nowhere.pt}"], "nowhere.pt"),
        (["--set", "generative.judge={backbone: test_resnet, weights: missing.pt}"], "no weight file missing.pt"),
        (
            ["--set", "generative.flow.recipe.name=gan"],
            "flow.recipe.name is gan, but the stage flow has its own recipe: leave it out, and choose with --recipe.",
        ),
        (
            ["--set", "generative.name=other"],
            "--set generative.name is other, but --decoder is generative: leave out the first.",
        ),
        (["--steps", 0], "generative.distill.steps is 0, but must be at least 1"),
    ],
)
def test_what_does_not_go_together(fsq_folder, photos, tmp_path, options, message):
    said = finetune(fsq_folder, photos, tmp_path, "--decoder", "generative", *options, code=2)
    assert message in said and "training the decoder" not in said, said


@pytest.mark.parametrize("name", ["plain", "", "a/b", "keys"])
def test_a_name_that_no_decoder_can_have(name, fsq_folder, photos, tmp_path):
    said = finetune(fsq_folder, photos, tmp_path, "--decoder", name, code=2)
    assert said.endswith(
        f"The name of a decoder is {name!r}, but must be up to 64 letters, digits, - and _, and neither plain nor a method of "
        "torch's modules: try generative."
    )


@pytest.mark.parametrize(
    "wrong",
    ["generative.flow.recipe.stepz=3", "generative.judge={backbone: test_resnet, weights: missing.pt}"],
    ids=["stage", "judge"],
)
def test_a_refused_call_leaves_nothing_that_the_corrected_one_takes_over(
    wrong, distilled, fsq_folder, photos, tmp_path
):
    few = ["--decoder", "generative", "--recipe", "flow", "--steps", 1, "--set", f"generative.network={SMALL}"]
    finetune(fsq_folder, photos, tmp_path / "new", *few, "--set", wrong, code=2)
    finetune(fsq_folder, photos, tmp_path / "new", *few)
    out = copied(distilled, tmp_path)
    before = (out / "finetune.yaml").read_bytes()
    later = wrong.replace("generative.flow", "generative.fgm")
    finetune(fsq_folder, photos, out, "--decoder", "generative", "--recipe", "fgm", "--set", later, code=2)
    assert (out / "finetune.yaml").read_bytes() == before


def test_a_decoder_of_another_network_is_told_before_anything_is_trained(distilled, photos, tmp_path):
    model, out = distilled[0] / "export", tmp_path / "out"
    said = finetune(model, photos, out, "--decoder", "generative", "--recipe", "gan", code=2)
    has = f"{model} already has a decoder generative, of another network than the one to train"
    assert f"{has} (it is residual_unet, not noise_channels): use another name for --decoder." in said
    assert "training the decoder" not in said and not list(out.glob("stages/*/*"))
    wider = ["--set", "generative.network={channels: [8, 12], blocks: 2, time_channels: 8}"]
    said = finetune(model, photos, tmp_path / "wider", "--decoder", "generative", *wider, code=2)
    place = model / "decoders" / "generative" / "config.json"
    asked = f"use another name for --decoder, or as generative.network the one in {place}."
    assert f"{has} (blocks is 1, not 2): {asked}" in said and "training the decoder" not in said
    finetune(model, photos, tmp_path / "sharp", "--decoder", "sharp", "--recipe", "gan", "--steps", 1)
    assert decoder_names(tmp_path / "sharp" / "export") == ["generative", "sharp"]


@pytest.mark.parametrize("lost", [[], ["stages/distill"]], ids=["all stages done", "one stage left"])
def test_a_tokenizer_that_changed_between_calls_is_told_before_the_result_is_touched(
    distilled, fsq_folder, photos, tmp_path, lost
):
    late, model = copied(distilled, tmp_path), shutil.copytree(fsq_folder, tmp_path / "model")
    for name in lost:
        shutil.rmtree(late / name)
    text = (late / "finetune.yaml").read_text()
    (late / "finetune.yaml").write_text(text.replace(str(fsq_folder), str(model)))
    path = model / "model.safetensors"
    weights = load_file(path)
    weights["decoder.conv_in.weight"] *= 1.5
    save_file(weights, path)
    before = {path: path.read_bytes() for path in (late / "export").rglob("*") if path.is_file()}
    said = finetune(model, photos, late, *DECODER, code=2)
    stage = late / "stages" / "flow" if lost else late / "stages" / "(flow|distill)"
    message = (
        rf"{model} has other codes or another plain decoder than when {stage} was trained, whose decoder would not fit: "
        r"give the tokenizer as it was then, or use another --out folder\."
    )
    assert re.search(message, said), said
    assert "training the decoder" not in said
    assert before == {path: path.read_bytes() for path in (late / "export").rglob("*") if path.is_file()}


def test_a_tokenizer_that_changes_while_stages_are_trained_is_told_before_the_result_is_written(
    fsq_folder, photos, tmp_path, monkeypatch
):
    model, out = shutil.copytree(fsq_folder, tmp_path / "model"), tmp_path / "out"
    stages = finetune_run.run_stages

    def run_and_change(run):
        folder = stages(run)
        weights = load_file(model / "model.safetensors")
        save_file({name: 1.5 * value for name, value in weights.items()}, model / "model.safetensors")
        return folder

    monkeypatch.setattr(finetune_run, "run_stages", run_and_change)
    options = ["--decoder", "sharp", "--recipe", "gan", "--steps", 1]
    said = finetune(model, photos, out, *options, code=2)
    assert f"than when {out / 'stages' / 'gan'} was trained, whose decoder would not fit: give the tokenizer" in said
    assert not (out / "export").exists()


def test_a_recipe_needs_the_name_of_a_decoder(fsq_folder, photos, tmp_path):
    said = finetune(fsq_folder, photos, tmp_path, "--recipe", "flow", code=2)
    assert "--recipe was given without --decoder: name the decoder to train" in said
    said = finetune(fsq_folder, photos, tmp_path, "--set", "generative={recipe: flow}", code=2)
    assert "--set generative was given without --decoder: name the decoder to train" in said


def test_a_tokenizer_that_changes_loses_its_decoders_and_says_so(distilled, photos, tmp_path):
    model = distilled[0] / "export"
    said = finetune(model, photos, tmp_path, "--only", "decoder", "--steps", 1)
    assert "has the decoder generative, trained for it as it is and left out of the result: train again there" in said
    assert not (tmp_path / "export" / "decoders").exists()
