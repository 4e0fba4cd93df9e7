"""Tokenizer and report of one step, whatever ends a run; an error in a report, samples or a tracker is a warning."""

import errno
import importlib.metadata
import os

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from runs import DEBUG, FSQ, interrupt_at, logged, train_again
from samples import PHOTOS
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.train import outputs
from vistok.train import report as run_report
from vistok.train import samples as sheets
from vistok.train.commands.train_tokenizer import app
from vistok.train.export import exported_step
from vistok.train.logs import trackers


@pytest.mark.parametrize("step", [2, 4])
def test_an_interrupted_run_leaves_its_step_and_ends_as_one_that_was_not(tmp_path, monkeypatch, step):
    """Before the first checkpoint, of step 3, and after it."""
    values = ["run.save_every=3"]
    whole = train_again(tmp_path / "whole", *FSQ, *values)
    stopped = train_again(tmp_path / "short", *FSQ, *values, "run.ema_decay=0.999", f"run.steps={step - 1}")
    interrupt_at(monkeypatch, step)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_again(out, *FSQ, *values)
    assert exported_step(out / "export") == step - 1 and exported_step(stopped) == step - 1
    assert f"Trained for {step - 1} of 6 steps" in (out / "export" / "README.md").read_text()
    page = (out / "report.html").read_text()
    assert f"step {step - 1} of 6" in page and f"The run ended at step {step - 1} of 6: it was interrupted." in page
    assert load_tokenizer(out / "export")
    train_again(out, *FSQ, *values)
    assert (out / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (out / "export" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert "step 6 of 6" in (out / "report.html").read_text() and "ended" not in (out / "report.html").read_text()


def test_what_is_exported_is_the_average_as_it_was_at_the_step(tmp_path, monkeypatch):
    """An average without memory is the weights themselves: those of the checkpoint of the step."""
    interrupt_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train_again(tmp_path, *FSQ, "run.ema_decay=0", "run.save_every=3", "run.export_training_state=true")
    exported = load_file(tmp_path / "export" / "model.safetensors")
    saved = load_file(tmp_path / "checkpoints" / "step-0000003" / "model.safetensors")
    assert all(torch.equal(exported[name], saved[name]) for name in exported)


def test_tokenizer_and_report_follow_every_validation_or_checkpoint(tmp_path, monkeypatch):
    found = []
    write = outputs.write_run_report

    def recorded(run, images, notes):
        write(run, images, notes)
        found.append((exported_step(run.config.run.out / "export"), run.ema.updates))

    monkeypatch.setattr(outputs, "write_run_report", recorded)
    train_again(tmp_path / "with", *FSQ, f"data.val={PHOTOS}", "run.validate_every=3", "run.save_every=2")
    train_again(tmp_path / "without", *FSQ, "run.save_every=2")
    assert found == [(3, 3), (6, 6), (2, 2), (4, 4), (6, 6)]
    found.clear()
    train_again(tmp_path / "without", *FSQ, "run.save_every=2")
    assert found == [(6, 6)]


def test_a_run_needs_no_package_that_is_installed(tmp_path, monkeypatch):
    """As from a source folder on PYTHONPATH."""

    version = importlib.metadata.version

    def missing(name):
        if name == "vistok":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    folder = train_again(tmp_path, *FSQ, steps=2)
    assert exported_step(folder) == 2 and (tmp_path / "report.html").exists()


def refuse(*arguments, **settings):
    raise OSError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")


class Refusing(trackers.LOGGER_TYPE_TO_CLASS["tensorboard"]):
    start = log = finish = refuse


DECORATION = {
    "report": lambda patch, out: patch.setattr(run_report, "render", refuse),
    "views": lambda patch, out: patch.setattr(run_report, "codebook_views", lambda *_: [][0]),
    "environment": lambda patch, out: patch.setattr(run_report, "environment", refuse),
    "samples are a file": lambda patch, out: (out.mkdir(), (out / "samples").write_text("")),
    "sheet": lambda patch, out: patch.setattr(sheets, "comparison_sheet", refuse),
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
    result = CliRunner().invoke(app, [str(DEBUG), *values, "data.size=32", "data.batch_size=4", *FSQ])
    assert result.exit_code == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert said.count("warning: ") == 1, said
    reasons = ("could not be written: ", "failed and gets no more scalars: ", "is not installed: ")
    assert any(reason in said for reason in reasons)
    assert exported_step(out / "export") == 2 and len(logged(out)) == 3


def test_a_tracker_that_is_not_known_is_a_wrong_call(tmp_path):
    with pytest.raises(
        ValueError, match="run.trackers 'tensorbord' is not a known tracker: did you mean 'tensorboard'"
    ):
        train_again(tmp_path, *FSQ, "run.trackers=[tensorbord]")
