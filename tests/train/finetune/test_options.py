"""The options of finetune-tokenizer: what they set, and wrong ones in one sentence."""

from types import SimpleNamespace

import pytest

import vistok
from runs import finetune
from vistok.train.finetune import run


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
        (["--quantizer", "fsq", "--codebook-size", 512], "--quantizer fsq has no --codebook-size: use --levels."),
        (["--quantizer", "simvq"], "--quantizer simvq needs --codebook-size: give it."),
        (["--quantizer", "lfq"], "--quantizer lfq needs --dim: give it."),
        (["--quantizer", "residual", "--dim", 4], "--quantizer residual has no --dim: use --set quantizer.KEY=VALUE."),
        (["--quantizer", "residual"], "quantizer.quantizer is missing"),
        (["--size", 60], "size is 60, but must be a multiple of the downsampling, 8: try 64."),
        (["--set", "joint=5"], "joint is 5, but"),
        (
            ["--quantizer", "vq", "--codebook-size", 8, "--only", "decoder"],
            "train is ['decoder'], the parts to train in the last stage, but after a swap that stage has no steps: give",
        ),
        (["--only", "decodr"], "train.0 is 'decodr'"),
        (["--set", "losses={}"], "losses has no term with a weight above 0: give one to l1 or l2."),
        (
            ["--quantizer", "vq", "--codebook-size", 8, "--set", "losses.perceptual=1"],
            "losses.perceptual has a weight, but the stages have only reconstruction losses: choose from l1, l2, ",
        ),
        (["--set", "fit.stepz=3"], "did you mean 'steps'?"),
        (["--set", "data.size=64"], "data.size is not a known key: did you mean 'crop'?"),
        (
            ["--set", "quantizer={name: multiscale, scales: [1, 2], quantizer: {name: vq, dim: 4, codebook_size: 8}}"],
            "quantizer is multiscale, which needs whole grids",
        ),
    ],
)
def test_wrong_calls_are_one_sentence(tokenizer_folder, photos, tmp_path, options, message):
    said = finetune(tokenizer_folder, photos, tmp_path / "out", *options, code=2)
    assert message in said and "Traceback" not in said
    left = [path for path in (tmp_path / "out" / "stages").rglob("*") if path.is_file()]
    assert not left, "or the corrected call would be refused"


def test_set_can_complete_what_options_begin(fsq_folder, photos, tmp_path):
    size = ["--set", "quantizer.codebook_size=8", "--set", "joint={lr: 1e-4}"]
    finetune(fsq_folder, photos, tmp_path / "vq", "--quantizer", "vq", *size)
    finetune(
        fsq_folder,
        photos,
        tmp_path / "fsq",
        "--quantizer",
        "fsq",
        "--levels",
        "3, 3",
        "--only",
        "decoder, encoder",
        "--steps",
        1,
    )
    assert vistok.load(tmp_path / "fsq" / "export").vocab_size == 9
    inner = ["--set", "quantizer.depth=2", "--set", "quantizer.quantizer={name: fsq, levels: [3, 3]}"]
    finetune(fsq_folder, photos, tmp_path / "residual", "--quantizer", "residual", *inner)
    assert vistok.load(tmp_path / "vq" / "export").vocab_size == 8
    assert vistok.load(tmp_path / "residual" / "export").vocab_size == 9


def test_it_works_in_one_process_alone(tokenizer_folder, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "this_process", lambda precision: SimpleNamespace(num_processes=2))
    said = finetune(tokenizer_folder, photos, tmp_path, "--steps", 1, code=2)
    assert "runs in one process, but 2 were launched: start it without a launcher." in said
