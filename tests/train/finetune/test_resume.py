"""A fine-tuning stopped anywhere ends as one that was not, and repeats nothing that it need not."""

import json
import shutil
import signal
import time

import pytest
import torch
from prepared import run_prepared, start_prepared

from runs import SWAP, finetune, finetune_options
from samples import noise_image
from vistok.tokenizer import files
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.train import outputs
from vistok.train import step as one_step
from vistok.train.checkpoints.checked_file import load_checked
from vistok.train.finetune import compare, fit_quantizer, fit_stage, page, prepare, run, sample_latents


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def same_as(out, whole):
    for name in ("export/model.safetensors", "export/config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (out, whole)]
    for each in metrics:
        for side in ("before", "after"):
            del each[side]["images_per_second"]
    assert metrics[0] == metrics[1]
    for stage in ("2-decoder", "3-joint"):
        logs = [(folder / "stages" / stage / "metrics.jsonl").read_bytes() for folder in (out, whole)]
        assert logs[0] == logs[1]
    assert (out / "report.html").exists()
    assert not (out / "latents.pt").exists() and not (out / "stages" / "1-quantizer" / "fit.pt").exists()


MOMENTS = {
    "collecting": (sample_latents, "latent_pairs", 1),
    "latents collected": (prepare, "save_checked", 1),
    "fitting, nothing kept": (fit_quantizer, "softened", 1),
    "fitting": (fit_quantizer, "softened", 6),
    "fitted": (fit_stage, "save_tokenizer", 1),
    "decoder, no checkpoint": (one_step, "tokenizer_step", 1),
    "decoder": (one_step, "tokenizer_step", 4),
    "between": (outputs, "export_tokenizer", 1),
    "decoder, its report": (outputs, "write_run_report", 1),
    "joint": (one_step, "tokenizer_step", 7),
    "joint, its export": (outputs, "export_tokenizer", 2),
    "exporting": (run, "save_tokenizer", 1),
    "evaluating": (compare, "measure", 2),
    "reporting": (page, "render", 1),
}


def kill(moment, model, photos, out):
    """Call finetune-tokenizer, and end it in the middle of a moment."""
    module, name, count = MOMENTS[moment]
    function, calls = getattr(module, name), []

    def counted(*arguments, **settings):
        calls.append(1)
        if len(calls) == count:
            raise Killed
        return function(*arguments, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, counted)
        with pytest.raises(Killed):
            finetune(model, photos, out, *SWAP)


@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_at_any_moment_it_ends_the_same(fsq_folder, photos, whole, tmp_path, moment):
    kill(moment, fsq_folder, photos, tmp_path)
    finetune(fsq_folder, photos, tmp_path, *SWAP)
    same_as(tmp_path, whole)


def test_only_what_was_not_done_is_done(fsq_folder, photos, tmp_path, monkeypatch):
    """Nine steps of the fit, saved every two: a stop in the sixth step keeps four."""
    kill("fitting", fsq_folder, photos, tmp_path)
    assert load_checked(tmp_path / "stages" / "1-quantizer" / "fit.pt")["step"] == 4
    steps, softened = [], fit_quantizer.softened
    monkeypatch.setattr(fit_quantizer, "softened", lambda *args: steps.append(1) or softened(*args))
    said = finetune(fsq_folder, photos, tmp_path, *SWAP)
    assert len(steps) == 5
    assert "using the latents of the last call" in said
    said = finetune(fsq_folder, photos, tmp_path, *SWAP)
    assert "stage" not in said.partition("evaluating on 1 image")[0]


@pytest.mark.parametrize("name", ["latents.pt", "stages/1-quantizer/fit.pt"])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b""], ids=["truncated", "empty"])
def test_damage_of_what_was_kept_costs_only_time(fsq_folder, photos, whole, tmp_path, name, damage):
    kill("fitting", fsq_folder, photos, tmp_path)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    remedy = "The latents are collected again." if name == "latents.pt" else "The fit starts again."
    assert f"warning: {path} is damaged. {remedy}" in finetune(fsq_folder, photos, tmp_path, *SWAP)
    same_as(tmp_path, whole)


def test_a_stop_while_the_result_is_written_again_leaves_the_old_one(fsq_folder, photos, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    write = files.write_whole

    def stopped(path, content):
        if path.name == "config.json":
            raise Killed
        write(path, content)

    monkeypatch.setattr("vistok.tokenizer.folder.save_load.write_whole", stopped)
    monkeypatch.setattr("vistok.train.finetune.prepare.check_stored", lambda config: [])
    with pytest.raises(Killed):
        finetune(fsq_folder, photos, out, *SWAP)
    assert load_tokenizer(out / "export")
    assert (out / "export" / "model.safetensors").read_bytes() == (whole / "export" / "model.safetensors").read_bytes()


def test_a_stage_has_the_report_of_its_last_step(fsq_folder, photos, whole, tmp_path, monkeypatch):
    """A stop in the stage leaves a report, and a kill after its last export leaves that one."""
    page = tmp_path / "stages" / "2-decoder" / "report.html"
    with monkeypatch.context() as patch:
        take, left = one_step.tokenizer_step, [3]

        def interrupted(run, step, micro_batches):
            if left == [step]:
                left.clear()
                raise KeyboardInterrupt
            return take(run, step, micro_batches)

        patch.setattr(one_step, "tokenizer_step", interrupted)
        finetune(fsq_folder, photos, tmp_path, *SWAP, code=1)
    assert "The run ended at step 2 of 4" in page.read_text()
    kill("decoder, its report", fsq_folder, photos, tmp_path)
    assert "The run ended at step 2 of 4" in page.read_text()
    finetune(fsq_folder, photos, tmp_path, *SWAP)
    assert "step 4 of 4" in page.read_text() and "ended" not in page.read_text()
    same_as(tmp_path, whole)


def test_new_images_are_named_and_their_latents_collected(fsq_folder, photos, tmp_path):
    own, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(photos, own)
    kill("fitting", fsq_folder, own, out)
    noise_image(64, 64).save(own / "new.png")
    said = finetune(fsq_folder, own, out, *SWAP)
    assert "warning: the images are not those that the run began with: 1 image more." in said
    assert "stage 1: collecting latents" in said and "latents of the last call" not in said
    finetune(fsq_folder, own, tmp_path / "other", *SWAP)
    exports = [(folder / "export" / "model.safetensors").read_bytes() for folder in (out, tmp_path / "other")]
    assert exports[0] == exports[1]


def test_killed_three_times_it_ends_as_one_that_was_not(fsq_folder, photos, whole, tmp_path):
    """SIGKILL, in the fit, in the decoder's stage and in the last."""
    out = tmp_path / "out"
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(
        f"import torch\ntorch.set_num_threads({torch.get_num_threads()})\n"
        "from vistok.train.commands.finetune_tokenizer import app\napp()\n"
    )
    arguments = finetune_options(fsq_folder, photos, out, *SWAP)
    nowhere = {"TORCH_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}  # no weights of LPIPS and rFID
    targets = ["1-quantizer/fit.pt", "2-decoder/checkpoints/step-0000002", "3-joint/checkpoints/step-0000002"]
    for target in targets:
        process = start_prepared(program, arguments, log, **nowhere)
        while process.is_alive() and not (out / "stages" / target).exists():
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, target
    run_prepared(program, arguments, log, **nowhere)
    whole_metrics, metrics = (json.loads((folder / "metrics.json").read_text()) for folder in (whole, out))
    (out / "metrics.json").write_text(json.dumps(metrics | {"not_measured": whole_metrics["not_measured"]}))
    same_as(out, whole)
