"""An error in the report, the samples or a tracker is a warning."""

import errno
import os

import pytest
from typer.testing import CliRunner

from runs import DEBUG, FSQ, logged, train_again
from samples import PHOTOS
from vistok.train import outputs
from vistok.train import report as run_report
from vistok.train.commands.train_tokenizer import app
from vistok.train.export import exported_step
from vistok.train.logs import trackers


def refuse(*arguments, **settings):
    raise OSError(errno.EACCES, os.strerror(errno.EACCES), "somewhere")


class Refusing(trackers.LOGGER_TYPE_TO_CLASS["tensorboard"]):
    start = log = finish = refuse


DECORATION = {
    "report": lambda patch, out: patch.setattr(run_report, "render", refuse),
    "views": lambda patch, out: patch.setattr(run_report, "codebook_views", lambda *_: [][0]),
    "environment": lambda patch, out: patch.setattr(run_report, "environment", refuse),
    "samples are a file": lambda patch, out: (out.mkdir(), (out / "samples").write_text("")),
    "sheet": lambda patch, out: patch.setattr(outputs, "comparison_sheet", refuse),
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
