"""A fine-tuning that was stopped anywhere ends as one that was not, and does nothing twice that it need not."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from typer.testing import CliRunner

from samples import ARCHITECTURE, PHOTOS, noise_image, small_tokenizer
from vistok.tokenizer import files
from vistok.tokenizer.files import hold_folder
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train import outputs
from vistok.train import step as one_step
from vistok.train.checkpoints.checked_file import load_checked, save_checked
from vistok.train.commands.finetune_tokenizer import app
from vistok.train.data import source_images
from vistok.train.data.config import SourceConfig
from vistok.train.finetune import call as finetune_call
from vistok.train.finetune import fit_quantizer as fit
from vistok.train.finetune import fit_stage as finetune_fit
from vistok.train.finetune import latent_sample, latents
from vistok.train.finetune import report as finetune_report
from vistok.train.finetune import stages as finetune

QUICK = ["fit.steps=9", "fit.batch_size=128", "decoder.steps=4", "joint.steps=4", "save_every=2"]
QUICK += ["data.crop=32", "data.batch_size=2", "data.workers=0"]
OPTIONS = ["--quantizer", "vq", "--codebook-size", "32", *(part for value in QUICK for part in ("--set", value))]


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for path in sorted(PHOTOS.glob("*.jpg")):
        image = Image.open(path).resize((64, 64))
        image.save(folder / path.name)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / f"mirror-{path.name}")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    small = small_tokenizer({"name": "fsq", "levels": [8, 8, 8]})
    save_tokenizer(folder, small, ARCHITECTURE, PreprocessingConfig(size=64), "# fsq\n")
    return folder


def call(model, photos, out, *more):
    AcceleratorState._reset_state(reset_partial_state=True)
    return CliRunner().invoke(app, [str(part) for part in (model, photos, "--out", out, *OPTIONS, *more)])


@pytest.fixture(scope="module")
def whole(model, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    result = call(model, photos, folder)
    assert result.exit_code == 0, result.stderr
    return folder


def same_as(out, whole):
    for name in ("export/model.safetensors", "export/config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    facts = [json.loads((folder / "metrics.json").read_text()) for folder in (out, whole)]
    for each in facts:
        for side in ("before", "after"):
            each[side].pop("images_per_second", None)
            each[side].pop("images_per_second", None)
    assert facts[0] == facts[1]
    for stage in ("2-decoder", "3-joint"):
        logs = [(folder / "stages" / stage / "metrics.jsonl").read_bytes() for folder in (out, whole)]
        assert logs[0] == logs[1]
    assert (out / "report.html").exists()
    assert not (out / "latents.pt").exists() and not (out / "stages" / "1-quantizer" / "fit.pt").exists()


MOMENTS = {
    "collecting": (latent_sample, "latent_pairs", 1),
    "latents collected": (latents, "save_checked", 1),
    "fitting, nothing kept": (fit, "_weighed", 1),
    "fitting": (fit, "_weighed", 6),
    "fitted": (finetune_fit, "save_tokenizer", 1),
    "decoder, no checkpoint": (one_step, "tokenizer_step", 1),
    "decoder": (one_step, "tokenizer_step", 4),
    "between": (outputs, "export_tokenizer", 1),
    "decoder, its report": (outputs, "write_run_report", 1),
    "joint": (one_step, "tokenizer_step", 7),
    "joint, its export": (outputs, "export_tokenizer", 2),
    "exporting": (finetune_call, "save_tokenizer", 1),
    "judging": (finetune_report, "measure", 2),
    "reporting": (finetune_report, "render", 1),
}


def kill_at(monkeypatch, moment):
    module, name, count = MOMENTS[moment]
    function, calls = getattr(module, name), []

    def counted(*arguments, **settings):
        calls.append(1)
        if len(calls) == count:
            raise Killed
        return function(*arguments, **settings)

    monkeypatch.setattr(module, name, counted)


@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_at_any_moment_it_ends_the_same(model, photos, whole, tmp_path, monkeypatch, moment):
    with monkeypatch.context() as patch:
        kill_at(patch, moment)
        with pytest.raises(Killed):
            call(model, photos, tmp_path)
    result = call(model, photos, tmp_path)
    assert result.exit_code == 0, result.stderr
    same_as(tmp_path, whole)


def test_only_what_was_not_done_is_done(model, photos, tmp_path, monkeypatch):
    """Nine steps of the fit with a file every two: a stop in the sixth has five behind it, of which four are kept."""
    steps = []
    weighed = fit._weighed

    def note(*arguments):
        steps.append(1)
        if len(steps) == 6:
            raise Killed
        return weighed(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_weighed", note)
        with pytest.raises(Killed):
            call(model, photos, tmp_path)
        assert load_checked(tmp_path / "stages" / "1-quantizer" / "fit.pt")["step"] == 4
        steps[:] = [1] * 10
        said = call(model, photos, tmp_path).output
    assert len(steps) == 10 + 5
    assert "the latents were collected before" in said
    again = call(model, photos, tmp_path).output
    assert "stage 1" not in again and "2-decoder" not in again and "3-joint" not in again
    assert "judging on" in again


@pytest.mark.parametrize("name", ["latents.pt", "stages/1-quantizer/fit.pt"])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b""])
def test_damage_of_what_was_kept_is_told_and_costs_no_more_than_time(
    model, photos, whole, tmp_path, monkeypatch, name, damage
):
    with monkeypatch.context() as patch:
        kill_at(patch, "fitting")
        with pytest.raises(Killed):
            call(model, photos, tmp_path)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    result = call(model, photos, tmp_path)
    assert f"warning: {path} is damaged." in result.output
    same_as(tmp_path, whole)


class Planted:
    """A pickle that makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["latents.pt", "stages/1-quantizer/fit.pt"])
def test_what_was_planted_in_their_place_runs_nothing_and_is_collected_again(model, photos, whole, tmp_path, name):
    out, trap = tmp_path / "out", tmp_path / "trap"
    save_checked(out / name, Planted(trap))
    result = call(model, photos, out)
    assert result.exit_code == 0 and f"warning: {out / name} is damaged: it is not of tensors" in result.output
    assert not trap.exists()
    same_as(out, whole)


def test_a_stop_while_the_result_is_written_again_leaves_the_old_one(model, photos, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    write = files.write_whole

    def stopped(path, content):
        if path.name == "config.json":
            raise Killed
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("vistok.tokenizer.folder.save_load.write_whole", stopped)
        patch.setattr(finetune_call, "remember", lambda config: [])
        with pytest.raises(Killed):
            call(model, photos, out)
    assert load_tokenizer(out / "export")
    assert (out / "export" / "model.safetensors").read_bytes() == (whole / "export" / "model.safetensors").read_bytes()


def test_a_stage_has_the_report_of_its_last_step(model, photos, whole, tmp_path, monkeypatch):
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
        assert call(model, photos, tmp_path).exit_code == 1
    assert "The run ended at step 2 of 4" in page.read_text()
    with monkeypatch.context() as patch:
        kill_at(patch, "decoder, its report")
        with pytest.raises(Killed):
            call(model, photos, tmp_path)
    assert "The run ended at step 2 of 4" in page.read_text()
    assert call(model, photos, tmp_path).exit_code == 0
    assert "step 4 of 4" in page.read_text() and "ended" not in page.read_text()
    same_as(tmp_path, whole)


def test_a_report_that_fails_does_not_end_it(model, photos, tmp_path, monkeypatch):
    def refuse(report):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")

    monkeypatch.setattr(finetune_report, "render", refuse)
    result = call(model, photos, tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "warning: the report could not be written: Permission denied (somewhere)" in result.output
    assert (tmp_path / "metrics.json").exists() and load_tokenizer(tmp_path / "export")


def test_images_that_came_after_the_latents_are_said_and_collected(model, photos, tmp_path, monkeypatch):
    own = tmp_path / "photos"
    shutil.copytree(photos, own)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        kill_at(patch, "fitting")
        with pytest.raises(Killed):
            call(model, own, out)
    noise_image(64, 64).save(own / "new.png")
    said = call(model, own, out).output
    assert "warning: the images are not those that the run began with: 1 image more." in said
    assert "stage 1: collecting latents" in said and "collected before" not in said
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
    call(model, own, tmp_path / "other")
    exports = [(folder / "export" / "model.safetensors").read_bytes() for folder in (out, tmp_path / "other")]
    assert exports[0] == exports[1]


def test_unreadable_images_end_no_stage(model, photos, tmp_path):
    own = tmp_path / "photos"
    shutil.copytree(photos, own)
    (own / "broken.jpg").write_bytes(b"no image")
    result = call(model, own, tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "warning:" in result.output and "broken.jpg cannot be used" in result.output
    stopped = call(model, own, tmp_path / "stop", "--set", "data.on_error=stop")
    assert (
        stopped.exit_code == 1
        and "broken.jpg cannot be used" in stopped.stderr
        and "repair or remove it" in stopped.stderr
    )


def test_a_whole_call_lists_its_images_once(model, photos, tmp_path, monkeypatch):
    """Three stages, the split, the notes, the latents and the judging, of images that are listed by what they come in."""
    listed = []
    index = source_images.index_images
    monkeypatch.setattr(source_images, "index_images", lambda path: listed.append(path) or index(path))
    assert call(model, photos, tmp_path / "out").exit_code == 0
    assert listed == [str(photos)]


def held_out_images(folder):
    """Of half of them."""
    entries = source_images.SourceImages().of(SourceConfig(path=[str(folder)], split=(0, 0.5)))
    return [Path(entry.path) for entry in entries]


@pytest.mark.parametrize("owner, name", [(finetune, "_stage"), (finetune_call, "judge_both")])
def test_images_that_vanish_between_two_stages_end_nothing(model, photos, tmp_path, monkeypatch, owner, name):
    own = tmp_path / "photos"
    shutil.copytree(photos, own)
    function, gone = getattr(owner, name), held_out_images(own)[1]

    def vanish(*arguments, **settings):
        gone.unlink(missing_ok=True)
        return function(*arguments, **settings)

    monkeypatch.setattr(owner, name, vanish)
    result = call(model, own, tmp_path / "out", "--set", "data.held_out=0.5")
    assert result.exit_code == 0, result.stderr
    assert f"{gone} cannot be used (the file cannot be read: No such file or directory)" in result.output
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["before"]["images"] == 3


def test_figures_of_different_images_are_not_compared(model, photos, tmp_path, monkeypatch):
    own = tmp_path / "photos"
    shutil.copytree(photos, own)
    judge, gone = finetune_report.judge, held_out_images(own)[1]

    def judged(*arguments):
        found = judge(*arguments)
        gone.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(finetune_report, "judge", judged)
    result = call(model, own, tmp_path / "out", "--set", "data.held_out=0.5")
    assert result.exit_code == 1
    assert "4 images could be read to judge the tokenizer before, and 3 after" in result.stderr


def test_a_folder_that_is_held_is_not_touched(model, photos, tmp_path):
    with hold_folder(tmp_path, "finetune-tokenizer"):
        result = call(model, photos, tmp_path)
    assert result.exit_code == 2 and "is being written to by finetune-tokenizer (pid" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", b"model: [", b"\xff\xfe", b"- 1\n"])
def test_a_config_that_was_lost_is_said_and_the_call_goes_on(model, photos, whole, tmp_path, content):
    late = tmp_path / "late"
    shutil.copytree(whole, late)
    path = late / "finetune.yaml"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    result = call(model, photos, late)
    assert result.exit_code == 0, result.stderr
    assert f"warning: {path} is missing or damaged, so that it is not known" in result.output
    same_as(late, whole)


def test_a_key_that_is_new_in_this_version_is_no_other_configuration(model, photos, whole, tmp_path):
    late = tmp_path / "late"
    shutil.copytree(whole, late)
    path = late / "finetune.yaml"
    text = path.read_text()
    assert "  max_unreadable: 0.01\n" in text
    path.write_text(text.replace("  max_unreadable: 0.01\n", "").replace(str(whole), str(late)))
    assert call(model, photos, late).exit_code == 0


def test_damaged_lines_of_a_stage_are_notes_of_the_report(model, photos, whole, tmp_path):
    late = tmp_path / "late"
    shutil.copytree(whole, late)
    (late / "finetune.yaml").write_text((late / "finetune.yaml").read_text().replace(str(whole), str(late)))
    with open(late / "stages" / "2-decoder" / "timing.jsonl", "a") as file:
        file.write("garbage\n")
    assert call(model, photos, late).exit_code == 0
    page = (late / "report.html").read_text()
    assert "2-decoder/timing.jsonl has damaged lines, which are left out: line" in page


def test_json_is_one_line(model, photos, whole):
    result = call(model, photos, whole, "--json", "--quiet")
    facts = json.loads(result.stdout)
    assert facts["tokenizer"] == str(whole / "export") and facts["after"]["psnr"] > 0
    assert result.stderr == ""


def test_killed_three_times_it_ends_as_one_that_was_not(model, photos, whole, tmp_path):
    """SIGKILL, in the fit, in the decoder's stage and in the last."""
    command = [Path(sys.executable).parent / "finetune-tokenizer", model, photos, "--out", tmp_path, *OPTIONS]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "ACCELERATE_USE_CPU": "true"}
    targets = ["1-quantizer/fit.pt", "2-decoder/checkpoints/step-0000002", "3-joint/checkpoints/step-0000002"]
    for target in targets:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (tmp_path / "stages" / target).exists():
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL, target
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    same_as(tmp_path, whole)


def test_a_fine_tuning_goes_on_where_another_processor_has_other_arithmetic(model, photos, tmp_path, monkeypatch):
    """Precision auto is kept as such: what it comes to on this machine is no other configuration."""
    for native in (True, False):
        monkeypatch.setattr("vistok.train.launcher.multiplies_bfloat16", lambda device, native=native: native)
        call(model, photos, tmp_path, "--quiet")
    assert "precision: auto\n" in (tmp_path / "finetune.yaml").read_text()
