"""What a run leaves behind: tokenizer and report of one step, whole, whatever ends it; decoration never ends it."""

import contextlib
import errno
import os
import shutil

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from typer.testing import CliRunner

from runs import DEBUG, QUANTIZERS, config, logged
from samples import PHOTOS
from vistok.tokenizer import files
from vistok.tokenizer import folder_exchange as folders
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.train import export, outputs
from vistok.train import report as run_report
from vistok.train import step as one_step
from vistok.train.commands.train_tokenizer import app
from vistok.train.export import exported_step
from vistok.train.finite_check import DivergedError, is_finite
from vistok.train.logs import trackers
from vistok.train.loop import train
from vistok.train.weight_ema import WeightEMA


def again(out, *overrides, steps=6):
    AcceleratorState._reset_state(reset_partial_state=True)
    return train(config(out, *QUANTIZERS["fsq"], *overrides, steps=steps))


def interrupt_at(monkeypatch, step, error=KeyboardInterrupt):
    """Interrupt the first run that comes to `step`."""
    take, left = one_step.tokenizer_step, [step]

    def interrupted(run, number, micro_batches):
        if left == [number]:
            left.clear()
            raise error
        return take(run, number, micro_batches)

    monkeypatch.setattr(one_step, "tokenizer_step", interrupted)


@pytest.mark.parametrize("step", [2, 4])
def test_an_interrupted_run_leaves_its_step_and_ends_as_one_that_was_not(tmp_path, monkeypatch, step):
    """Before the first checkpoint, of step 3, and after it."""
    values = ["run.save_every=3"]
    whole = again(tmp_path / "whole", *values)
    stopped = again(tmp_path / "short", *values, "run.ema_decay=0.999", f"run.steps={step - 1}")
    interrupt_at(monkeypatch, step)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        again(out, *values)
    assert exported_step(out / "export") == step - 1 and exported_step(stopped) == step - 1
    assert f"Trained for {step - 1} of 6 steps" in (out / "export" / "README.md").read_text()
    page = (out / "report.html").read_text()
    assert f"step {step - 1} of 6" in page and f"The run ended at step {step - 1} of 6: it was interrupted." in page
    assert load_tokenizer(out / "export")
    again(out, *values)
    assert (out / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (out / "export" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert "step 6 of 6" in (out / "report.html").read_text() and "ended" not in (out / "report.html").read_text()


def test_what_is_exported_is_the_average_as_it_was_at_the_step(tmp_path, monkeypatch):
    """An average without memory is the weights themselves: those of the checkpoint of the step."""
    interrupt_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path, "run.ema_decay=0", "run.save_every=3", "run.export_training_state=true")
    exported = load_file(tmp_path / "export" / "model.safetensors")
    saved = load_file(tmp_path / "checkpoints" / "step-0000003" / "model.safetensors")
    assert all(torch.equal(exported[name], saved[name]) for name in exported)


def test_tokenizer_and_report_follow_every_validation_or_checkpoint(tmp_path, monkeypatch):
    found = []
    write = outputs.write_run_report

    def note(run, images, notes):
        write(run, images, notes)
        found.append((exported_step(run.config.run.out / "export"), run.ema.updates))

    monkeypatch.setattr(outputs, "write_run_report", note)
    again(tmp_path / "with", f"data.val={PHOTOS}", "run.validate_every=3", "run.save_every=2")
    again(tmp_path / "without", "run.save_every=2")
    assert found == [(3, 3), (6, 6), (2, 2), (4, 4), (6, 6)]
    found.clear()
    again(tmp_path / "without", "run.save_every=2")
    assert found == [(6, 6)]


def test_a_run_that_diverged_exits_1_and_leaves_the_last_good_weights(tmp_path):
    values = [f"data.train={PHOTOS}", "data.val=[]", f"run.out={tmp_path}", "run.steps=6", "run.log_every=1"]
    values += ["run.save_every=2", "data.size=32", "data.batch_size=4", "optimizer.warmup=0", *QUANTIZERS["fsq"]]
    values += ["run.ema_decay=0"]
    again(tmp_path, "run.save_every=2", "run.ema_decay=0", "run.log_every=1", "optimizer.warmup=0", steps=2)
    good = (tmp_path / "export" / "model.safetensors").read_bytes()
    AcceleratorState._reset_state(reset_partial_state=True)
    result = CliRunner().invoke(app, [str(DEBUG), *values, "optimizer.lr=1e30"])
    assert result.exit_code == 1
    assert "lower optimizer.lr; the last good checkpoint is" in result.stderr
    assert (tmp_path / "export" / "model.safetensors").read_bytes() == good
    page = (tmp_path / "report.html").read_text()
    assert "step 2 of 6" in page and "of 6: loss/total is" in page
    assert all(line["step"] <= 4 for line in logged(tmp_path))


def test_a_run_that_diverged_before_any_checkpoint_leaves_none(tmp_path):
    with pytest.raises(WorkFailedError, match=r"loss/total is (nan|inf) at step \d: lower optimizer.lr\.$"):
        again(tmp_path, "optimizer.lr=1e30", "optimizer.warmup=0", "run.log_every=1", "run.ema_decay=0")
    assert not (tmp_path / "export").exists()


def test_a_tokenizer_of_a_later_validation_outlives_a_divergence(tmp_path, monkeypatch):
    error = DivergedError("loss/total is nan at step 6: lower optimizer.lr.")
    interrupt_at(monkeypatch, 6, error)
    with pytest.raises(WorkFailedError, match="loss/total is nan"):
        again(tmp_path, f"data.val={PHOTOS}", "run.validate_every=5", "run.save_every=4")
    assert exported_step(tmp_path / "export") == 5 and "step 5 of 6" in (tmp_path / "report.html").read_text()


def test_many_unreadable_images_exit_1(tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(PHOTOS, folder)
    for number in range(40):
        (folder / f"{number}.png").write_bytes(b"")
    values = [str(DEBUG), f"data.train={folder}", "data.val=[]", f"run.out={tmp_path / 'run'}", "run.log_every=2"]
    result = CliRunner().invoke(app, [*values, "data.size=32", "data.batch_size=4", "run.steps=40"])
    assert result.exit_code == 1 and "more than data.max_unreadable (0.01) allows" in result.stderr
    AcceleratorState._reset_state(reset_partial_state=True)
    values[3] = f"run.out={tmp_path / 'stops'}"
    result = CliRunner().invoke(app, [*values, "data.size=32", "data.batch_size=4", "data.on_error=stop"])
    assert result.exit_code == 1 and "repair or remove it, or set data.on_error to skip" in result.stderr


class StopsAt:
    """Interrupts the call of a given number, of all that it wraps."""

    def __init__(self, number):
        self.left = number

    def within(self, call):
        def counted(*arguments, **settings):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return call(*arguments, **settings)

        return counted


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_stop_at_any_moment_of_an_export_leaves_the_old_or_the_new_one(tmp_path, monkeypatch, exchanges):
    """At each file that is written, and at each rename and removal of a folder, with and without an atomic exchange."""
    folder = again(tmp_path, steps=2)
    model, run_config = load_tokenizer(folder).model, config(tmp_path, *QUANTIZERS["fsq"], steps=9)
    steps = []
    for number in range(1, 30):
        export.export_tokenizer(folder, model, run_config, 1)
        stops = StopsAt(number)
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            exchange = folders._exchanged if exchanges else lambda one, other: False
            patch.setattr(folders, "_exchanged", stops.within(exchange))
            patch.setattr("vistok.tokenizer.folder.save_load.write_whole", stops.within(files.write_whole))
            patch.setattr("pathlib.Path.rename", stops.within(type(folder).rename))
            patch.setattr(folders.shutil, "rmtree", stops.within(shutil.rmtree))
            export.export_tokenizer(folder, model, run_config, 9)
        folders.restore_folder(folder)
        steps.append(exported_step(folder))
        assert f"Trained for {steps[-1]} " in (folder / "README.md").read_text() and load_tokenizer(folder)
        if stops.left > 0:
            break
    assert set(steps) == {1, 9} and len(steps) > 5 and steps == sorted(steps)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_file_in_the_place_of_the_export_is_not_touched(tmp_path):
    folder = again(tmp_path / "run", steps=2)
    model, run_config = load_tokenizer(folder).model, config(tmp_path, *QUANTIZERS["fsq"])
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError):
        export.export_tokenizer(tmp_path / "file", model, run_config, 1)
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 2
    (tmp_path / "link").symlink_to(folder)
    export.export_tokenizer(tmp_path / "link", model, run_config, 1)
    assert (tmp_path / "link").is_symlink() and exported_step(folder) == 1


def refuse(*arguments, **settings):
    raise OSError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")


class Refusing(trackers.LOGGER_TYPE_TO_CLASS["tensorboard"]):
    start = log = finish = refuse


DECORATION = {
    "report": lambda patch, out: patch.setattr(run_report, "render", refuse),
    "views": lambda patch, out: patch.setattr(run_report, "codebook_views", lambda *_: [][0]),
    "environment": lambda patch, out: patch.setattr(run_report, "environment", refuse),
    "samples are a file": lambda patch, out: (out.mkdir(), (out / "samples").write_text("")),
    "sheet": lambda patch, out: patch.setattr(run_report, "comparison_sheet", refuse),
    "tensorboard is not installed": lambda patch, out: patch.setattr(trackers, "get_available_trackers", list),
    "tensorboard does not start": lambda patch, out: patch.setitem(
        trackers.LOGGER_TYPE_TO_CLASS, "tensorboard", Refusing
    ),
    "tensorboard fails": lambda patch, out: patch.setattr(trackers.LOGGER_TYPE_TO_CLASS["tensorboard"], "log", refuse),
    "tensorboard does not end": lambda patch, out: patch.setattr(
        trackers.LOGGER_TYPE_TO_CLASS["tensorboard"], "finish", refuse
    ),
}


@pytest.mark.parametrize("what", DECORATION)
def test_what_only_decorates_is_a_warning_and_the_exit_code_is_0(tmp_path, monkeypatch, what):
    out = tmp_path / "run"
    DECORATION[what](monkeypatch, out)
    values = [f"data.train={PHOTOS}", f"data.val={PHOTOS}", f"run.out={out}", "run.steps=2", "run.log_every=1"]
    result = CliRunner().invoke(app, [str(DEBUG), *values, "data.size=32", "data.batch_size=4", *QUANTIZERS["fsq"]])
    assert result.exit_code == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert said.count("warning: ") == 1, said
    reasons = ("could not be written: ", "failed and gets no more: ", "is not installed: ")
    assert any(reason in said for reason in reasons)
    assert exported_step(out / "export") == 2 and len(logged(out)) == 3


def test_a_tracker_that_is_not_known_is_a_wrong_call(tmp_path):
    with pytest.raises(
        ValueError, match="run.trackers 'tensorbord' is not a known tracker: did you mean 'tensorboard'"
    ):
        again(tmp_path, "run.trackers=[tensorbord]")


def test_the_average_follows_its_recurrence_in_float64():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    average = WeightEMA(model, 0.9)
    expected = None
    for step in range(40):
        with torch.no_grad():
            model[0].weight.normal_()
            model[1].running_mean.normal_()
        average.update_parameters(model)
        decay = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        now = model[0].weight.double()
        expected = now.clone() if expected is None else decay * expected + (1 - decay) * now
    assert torch.allclose(average.module[0].weight.double(), expected, atol=1e-5)
    assert torch.equal(average.module[1].running_mean, model[1].running_mean) and average.updates == 40


def test_the_first_loss_that_is_not_finite_is_told_whatever_comes_after():
    from accelerate import Accelerator

    seen = Divergence(Accelerator(cpu=True))
    tokens = torch.tensor([-(2**63), 7])
    for step, loss in [(1, 0.5), (2, float("inf")), (3, float("nan")), (4, 1.0)]:
        assert (seen.found() is None) == (step <= 2)
        seen.observe(torch.tensor(loss), step)
    assert seen.found() == "loss/total is inf at step 2"
    assert seen.without_nonsense(tokens).tolist() == [0, 0]
    model = torch.nn.Linear(2, 2)
    assert is_finite(model)
    model.bias.data[0] = float("nan")
    assert not is_finite(model)


def test_a_run_needs_no_package_that_is_installed(tmp_path, monkeypatch):
    """As from a source folder on PYTHONPATH."""
    import importlib.metadata

    version = importlib.metadata.version

    def missing(name):
        if name == "vistok":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    folder = again(tmp_path, steps=2)
    assert exported_step(folder) == 2 and (tmp_path / "report.html").exists()


def test_weights_that_are_not_finite_replace_no_tokenizer_and_are_not_kept(tmp_path, monkeypatch):
    """Step 4 is validated and not saved: what a loss that is still finite hides is found before the export."""
    optimizer_step = one_step.optimizer_step

    def spoiled(run, rate):
        norm = optimizer_step(run, rate)
        if run.ema.updates == 3:
            with torch.no_grad():
                run.model.decoder.conv_out.bias.fill_(float("nan"))
        return norm

    again(tmp_path / "whole", f"data.val={PHOTOS}", "run.validate_every=2", "run.save_every=3", steps=2)
    before = load_file(tmp_path / "whole" / "export" / "model.safetensors")
    monkeypatch.setattr(one_step, "optimizer_step", spoiled)
    with pytest.raises(WorkFailedError, match="the weights of the tokenizer are not finite after step 4: lower"):
        again(tmp_path / "bad", f"data.val={PHOTOS}", "run.validate_every=2", "run.save_every=3", steps=6)
    after = load_file(tmp_path / "bad" / "export" / "model.safetensors")
    assert before.keys() == after.keys() and all(tensor.isfinite().all() for tensor in after.values())
