"""finetune-tokenizer as a user calls it."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from typer.testing import CliRunner

import vistok
from samples import ARCHITECTURE, PHOTOS, noise_image, small_tokenizer
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.commands.finetune_tokenizer import app
from vistok.train.finetune import call as finetune_call

QUICK = ["fit.steps=30", "fit.batch_size=256", "decoder.steps=3", "data.crop=32", "data.batch_size=2", "data.workers=0"]
SHORT = [argument for value in QUICK for argument in ("--set", value)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eight images: photos and their mirrors."""
    folder = tmp_path_factory.mktemp("photos")
    for path in sorted(PHOTOS.glob("*.jpg")):
        image = Image.open(path).resize((96, 80))
        image.save(folder / path.name)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"mirror-{path.name}")
    return folder


@pytest.fixture(scope="module")
def fsq_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fsq")
    model = small_tokenizer({"name": "fsq", "levels": [8, 8, 8]})
    save_tokenizer(folder, model, ARCHITECTURE, PreprocessingConfig(size=64), "# fsq\n")
    return folder


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return " ".join((result.output + result.stderr).split())


def test_a_swap_fits_adapts_and_says_what_changed(fsq_folder, photos, tmp_path):
    said = call(fsq_folder, photos, "--out", tmp_path, "--quantizer", "simvq", "--codebook-size", 32, *SHORT)
    assert "1 of 8 images are held out" in said and "before" in said and "after" in said
    after = vistok.load(tmp_path / "export")
    assert (after.vocab_size, after.config.quantizer.name, after.config.quantizer.squash) == (32, "vq", "tanh")
    facts = json.loads((tmp_path / "metrics.json").read_text())
    assert facts["after"]["fingerprint"] == after.fingerprint != facts["before"]["fingerprint"]
    assert facts["after"]["bits_per_pixel"] == pytest.approx(5 / 64)
    assert "Before and after" in (tmp_path / "report.html").read_text()
    before, stage = load_tokenizer(fsq_folder).model, load_tokenizer(tmp_path / "stages" / "1-quantizer").model
    for name, value in before.state_dict().items():
        if name.startswith(("encoder.", "decoder.")):
            assert torch.equal(value, stage.state_dict()[name]), "the first stage leaves the networks alone"
    for name, value in stage.encoder.state_dict().items():
        assert torch.equal(value, after.model.encoder.state_dict()[name]), "the second leaves the encoder alone"


def test_stages_that_are_done_are_not_done_again(fsq_folder, photos, tmp_path):
    options = [fsq_folder, photos, "--quantizer", "vq", "--codebook-size", 32, "--steps", 4, *SHORT]
    call(*options, "--out", tmp_path / "whole")
    late = tmp_path / "late"
    shutil.copytree(tmp_path / "whole", late)
    (late / "finetune.yaml").write_text((late / "finetune.yaml").read_text().replace("/whole", "/late"))
    for gone in ("3-joint", "2-decoder/export"):
        shutil.rmtree(late / "stages" / gone)
    shutil.rmtree(late / "export")
    AcceleratorState._reset_state(reset_partial_state=True)
    said = call(*options, "--out", late)
    assert "collecting latents" not in said
    first, second = (folder / "export" / "model.safetensors" for folder in (late, tmp_path / "whole"))
    assert first.read_bytes() == second.read_bytes()


def test_the_decoder_alone_keeps_the_tokens(tokenizer_folder, photos, tmp_path):
    call(tokenizer_folder, photos, "--out", tmp_path, "--only", "decoder", "--steps", 3, *SHORT)
    before, after = vistok.load(tokenizer_folder), vistok.load(tmp_path / "export")
    assert after.fingerprint == before.fingerprint
    tokens = before.encode(PHOTOS / "coffee.jpg")
    assert torch.equal(tokens, after.encode(PHOTOS / "coffee.jpg"))
    assert not torch.equal(before.decode(tokens, "tensor"), after.decode(tokens, "tensor"))


def test_going_on_moves_everything_and_growing_keeps_the_old_codes(tokenizer_folder, photos, tmp_path):
    call(tokenizer_folder, photos, "--out", tmp_path / "on", "--steps", 3, *SHORT)
    before = load_tokenizer(tokenizer_folder).model
    after = load_tokenizer(tmp_path / "on" / "export").model
    assert not torch.equal(before.quantizer.codes(), after.quantizer.codes())
    AcceleratorState._reset_state(reset_partial_state=True)
    grow = ["--grow-to", 400, "--set", "fit.steps=0", "--set", "decoder.steps=0", *SHORT[4:]]
    call(
        tokenizer_folder,
        photos,
        "--out",
        tmp_path / "grown",
        *grow[:4],
        "--set",
        "decoder.steps=0",
        "--set",
        "data.crop=32",
    )
    grown = load_tokenizer(tmp_path / "grown" / "export").model
    assert grown.quantizer.vocab_size == 400
    assert torch.equal(grown.quantizer.codes()[:300], before.quantizer.codes())


def test_images_can_be_shards_or_lists_and_few(tokenizer_folder, tmp_path):
    noise_image(70, 70).save(tmp_path / "one.png")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'one.png'}\n")
    said = call(tokenizer_folder, tmp_path / "list.txt", "--out", tmp_path / "out", "--steps", 2, *SHORT)
    assert "too few images to hold any out (1): judged on the training images themselves" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codebook-size", 8], "--codebook-size was given without --quantizer: name the new quantizer."),
        (["--quantizer", "simvp", "--codebook-size", 8], "did you mean 'simvq'?"),
        (["--quantizer", "vq", "--codebook-size", 8, "--grow-to", 9], "swap the quantizer, or grow its codebook"),
        (
            ["--quantizer", "vq", "--codebook-size", 10**6],
            "latents for 1,000,000 codes: give more images, or a smaller",
        ),
        (["--grow-to", 300], "grow_to is 300, but"),
        (["--steps", 0], "joint.steps is 0 and the quantizer stays, so nothing would change: give --steps above 0."),
        (["--quantizer", "fsq", "--codebook-size", 512], "--quantizer fsq has no --codebook-size: it takes --levels."),
        (["--quantizer", "simvq"], "--quantizer simvq needs --codebook-size: give it."),
        (["--quantizer", "lfq"], "--quantizer lfq needs --dim: give it."),
        (["--quantizer", "residual", "--dim", 4], "--quantizer residual has no --dim: it takes --set quantizer.KEY."),
        (["--quantizer", "residual"], "quantizer.quantizer is missing"),
        (["--set", "joint=5"], "joint is 5, but"),
        (
            ["--quantizer", "vq", "--codebook-size", 8, "--only", "decoder"],
            "train is ['decoder'], which says what learns in the last stage, but after a swap that has no steps: give",
        ),
        (["--only", "decodr"], "train.0 is 'decodr'"),
        (["--set", "fit.stepz=3"], "did you mean 'steps'?"),
        (
            ["--set", "quantizer={name: multiscale, scales: [1, 2], quantizer: {name: vq, dim: 4, codebook_size: 8}}"],
            "quantizer is multiscale, which needs whole grids",
        ),
    ],
)
def test_wrong_calls_are_one_sentence(tokenizer_folder, photos, tmp_path, options, message):
    said = call(tokenizer_folder, photos, "--out", tmp_path / "out", *SHORT, *options, code=2)
    assert message in said and "Traceback" not in said


def test_sources_of_any_size_are_one_collection(tokenizer_folder, photos, tmp_path):
    files = sorted(photos.iterdir())
    (tmp_path / "one").mkdir()
    noise_image(70, 70).save(tmp_path / "one" / "alone.png")
    for name, data, counted in (("files", [*files, files[0]], 8), ("folders", [photos, tmp_path / "one"], 9)):
        said = call(tokenizer_folder, *data, "--out", tmp_path / name, "--steps", 1, *SHORT)
        assert f"1 of {counted} images are held out" in said


def test_set_can_complete_what_options_begin(fsq_folder, photos, tmp_path):
    size = ["--set", "quantizer.codebook_size=8", "--set", "joint={lr: 1e-4}"]
    call(fsq_folder, photos, "--out", tmp_path / "vq", "--quantizer", "vq", *size, *SHORT)
    inner = ["--set", "quantizer.depth=2", "--set", "quantizer.quantizer={name: fsq, levels: [3, 3]}"]
    call(fsq_folder, photos, "--out", tmp_path / "residual", "--quantizer", "residual", *inner, *SHORT)
    assert vistok.load(tmp_path / "vq" / "export").vocab_size == 8
    assert vistok.load(tmp_path / "residual" / "export").vocab_size == 9


def test_it_works_in_one_process_alone(tokenizer_folder, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune_call, "this_process", lambda precision: SimpleNamespace(num_processes=2))
    said = call(tokenizer_folder, photos, "--out", tmp_path, *SHORT, code=2)
    assert "works in one process, but 2 were launched: start it by itself." in said


def test_a_call_that_failed_can_be_corrected(tokenizer_folder, photos, tmp_path):
    call(tokenizer_folder, tmp_path / "nowhere", "--out", tmp_path / "out", "--steps", 1, *SHORT, code=2)
    many = ["--quantizer", "vq", "--codebook-size", 10**6]
    call(tokenizer_folder, photos, "--out", tmp_path / "out", *many, *SHORT, code=2)
    call(tokenizer_folder, photos, "--out", tmp_path / "out", "--quantizer", "vq", "--codebook-size", 8, *SHORT)


def test_another_call_does_not_write_over_a_fine_tuning(tokenizer_folder, photos, tmp_path):
    call(tokenizer_folder, photos, "--out", tmp_path, "--only", "decoder", "--steps", 2, *SHORT)
    kept = (tmp_path / "finetune.yaml").read_text()
    said = call(tokenizer_folder, photos, "--out", tmp_path, "--only", "decoder", "--steps", 3, *SHORT, code=2)
    assert "holds a fine-tuning with another configuration" in said and "use another --out folder" in said
    assert (tmp_path / "finetune.yaml").read_text() == kept
