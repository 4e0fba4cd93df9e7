"""From images to a tokenizer and back on one device: from training to evaluation."""

import json

import pytest
import torch
from typer.testing import CliRunner

import vistok
from runs import ADVERSARIAL, DEBUG, QUANTIZERS, config, logged, new_process
from samples import PHOTOS
from vistok.inference.commands import detokenize_images, evaluate_tokenizer, tokenize_images
from vistok.tokenizer.devices import device_name
from vistok.train import loop
from vistok.train import step as one_step
from vistok.train.commands import export_tokenizer as export_command
from vistok.train.commands import finetune_tokenizer as finetune_command
from vistok.train.commands import train_tokenizer as command
from vistok.train.export import exported_step

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")],
    ),
]


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    if request.param == "cpu" and torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    return request.param


def call(module, *arguments, code=0):
    new_process()
    result = CliRunner().invoke(module.app, [*map(str, arguments)])
    assert result.exit_code == code, result.stderr
    return result.stdout + result.stderr


def test_the_whole_way(device, tmp_path, monkeypatch):
    out, used = tmp_path / "run", []
    values = [DEBUG, f"data.train={PHOTOS}", f"data.val={PHOTOS}", f"run.out={out}", "run.steps=6", "run.log_every=1"]
    values += ["run.save_every=2", "run.validate_every=2", "data.size=32", "data.batch_size=4", "optimizer.warmup=2"]
    values += ["data.workers=0", "run.precision=auto", *QUANTIZERS["vq"]]
    step = one_step.tokenizer_step

    def interrupted(run, number, micro_batches):
        used.append({pixels.device.type for pixels in micro_batches} | {next(run.model.parameters()).device.type})
        if number == 4 and len(used) == 4:
            raise KeyboardInterrupt
        return step(run, number, micro_batches)

    monkeypatch.setattr(one_step, "tokenizer_step", interrupted)
    assert "interrupted: run the same command again" in call(command, *values, code=1)
    assert exported_step(out / "export") == 3
    assert "step 3 of 6" in (out / "report.html").read_text()
    assert "2 of 6 steps were done before" in call(command, *values)
    assert {frozenset(kinds) for kinds in used} == {frozenset([device])} and len(used) == 8
    assert [line["step"] for line in logged(out) if "loss/total" in line] == [1, 2, 3, 4, 5, 6]
    page = (out / "report.html").read_text()
    assert "step 6 of 6" in page and device_name(torch.device(device)) in page
    assert exported_step(out / "export") == 6
    call(export_command, out, "--out", tmp_path / "early", "--checkpoint", "4")
    assert exported_step(tmp_path / "early") == 4

    tokens = tmp_path / "tokens"
    call(tokenize_images, PHOTOS, "--model", out / "export", "--out", tokens, "--size", "64", "--quiet")
    call(detokenize_images, tokens, "--model", out / "export", "--out", tmp_path / "back", "--quiet")
    assert len(list((tmp_path / "back").glob("*.png"))) == 6
    tokenizer = vistok.load(out / "export")
    assert tokenizer.device.type == device
    image = torch.rand(1, 3, 64, 64, device=device)
    grid = tokenizer.encode(image)
    assert grid.device.type == device and tokenizer.decode(grid, output="tensor").shape == image.shape

    tuned = [
        "--out",
        tmp_path / "tuned",
        "--quantizer",
        "fsq",
        "--levels",
        "5,5,5",
        "--steps",
        "2",
        "--json",
        "--quiet",
    ]
    tuned += ["--set", "fit.steps=5", "--set", "decoder.steps=2", "--set", "data.crop=32", "--set", "data.batch_size=4"]
    tuned += ["--set", "data.workers=0"]
    facts = json.loads(call(finetune_command, out / "export", PHOTOS, *tuned).splitlines()[-1])
    assert (tmp_path / "tuned" / "export" / "config.json").exists() and facts["report"].endswith("report.html")
    call(evaluate_tokenizer, tmp_path / "tuned" / "export", PHOTOS, "--out", tmp_path / "evaluated", "--quiet")
    assert json.loads((tmp_path / "evaluated" / "metrics.json").read_text())["psnr"] > 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("quantizer", ["fsq", "vq"])
def test_a_step_that_is_not_logged_does_not_wait_for_the_gpu(tmp_path, monkeypatch, quantizer):
    update, observe = one_step.tokenizer_step, torch.cuda.set_sync_debug_mode

    def strict(run, number, micro_batches):
        observe("error" if number in (3, 5) else "default")
        return update(run, number, micro_batches)

    monkeypatch.setattr(one_step, "tokenizer_step", strict)
    shutter = loop.RunLog.advance

    def relaxed(log, step, doing=""):
        observe("default")  # the batch of the next step is copied to the device
        shutter(log, step, doing)

    monkeypatch.setattr(loop.RunLog, "advance", relaxed)
    more = ["run.log_every=2", "run.save_every=6", "codebook.revive_every=0", "diagnostics.noise_every=0"]
    loop.train(config(tmp_path, *QUANTIZERS[quantizer], *more))


@pytest.mark.parametrize("more", [QUANTIZERS["residual"], ADVERSARIAL], ids=["residual", "adversarial"])
def test_a_step_copies_no_value_to_the_device(tmp_path, monkeypatch, more):
    update, make = one_step.tokenizer_step, torch.tensor

    def made(values, **settings):
        assert "device" not in settings, "such a copy waits for a GPU"
        return make(values, **settings)

    def strict(run, number, micro_batches):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "tensor", made)
            return update(run, number, micro_batches)

    monkeypatch.setattr(one_step, "tokenizer_step", strict)
    loop.train(config(tmp_path, *more, steps=3))
