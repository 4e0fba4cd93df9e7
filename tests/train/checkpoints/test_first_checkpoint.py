"""A run that ends while its first checkpoint is written can be begun again, and a signal waits for the checkpoint."""

import errno
import os
import signal

import pytest
from accelerate import Accelerator
from typer.testing import CliRunner

from runs import DEBUG, QUANTIZERS, config, new_process
from samples import PHOTOS
from vistok.train import step as one_step
from vistok.train.commands.train_tokenizer import app
from vistok.train.export import exported_step
from vistok.train.loop import train


def again(out, *overrides, steps=6):
    new_process()
    return train(config(out, *QUANTIZERS["fsq"], *overrides, steps=steps))


def end_with(monkeypatch, error, owner=Accelerator, name="save_state"):
    def end(*arguments, **settings):
        raise error

    monkeypatch.setattr(owner, name, end)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a process has gone"), OSError(5, "bad disk")])
@pytest.mark.parametrize("steps", [3, 6])
def test_a_run_without_its_first_checkpoint_can_be_begun_again(tmp_path, monkeypatch, error, steps):
    with monkeypatch.context() as patch:
        end_with(patch, error)
        with pytest.raises(type(error)):
            again(tmp_path / "run", "run.save_every=3", steps=steps)
    exports = [again(tmp_path / name, "run.save_every=3", steps=steps) for name in ("run", "whole")]
    weights = [(folder / "model.safetensors").read_bytes() for folder in exports]
    assert weights[0] == weights[1] and exported_step(exports[0]) == steps


def test_what_was_written_before_the_first_checkpoint_stays_as_a_pair(tmp_path, monkeypatch):
    end_with(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        again(tmp_path, f"data.val={PHOTOS}", "run.validate_every=2", "run.save_every=3")
    page = (tmp_path / "report.html").read_text()
    assert exported_step(tmp_path / "export") == 2 and "step 2 of 6" in page and "ended" not in page


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_checkpoint(tmp_path, monkeypatch, number):
    save = Accelerator.save_state

    def signalled(*arguments, **settings):
        os.kill(os.getpid(), number)
        return save(*arguments, **settings)

    monkeypatch.setattr(Accelerator, "save_state", signalled)
    values = [f"run.out={tmp_path}", f"data.train={PHOTOS}", "data.size=32", "run.save_every=3", "run.steps=6"]
    result = CliRunner().invoke(app, [str(DEBUG), *values, *QUANTIZERS["fsq"]])
    assert result.exit_code == 1 and "interrupted: run the same command again to continue." in result.stderr
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000003"]
    assert exported_step(tmp_path / "export") == 3
    assert "The run ended at step 3 of 6: it was interrupted." in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), MemoryError()])
def test_a_machine_that_refuses_leaves_the_step_that_was_reached(tmp_path, monkeypatch, error):
    steps, step = [], one_step.tokenizer_step

    def refused(*arguments):
        steps.append(1)
        if len(steps) == 3:
            raise error
        return step(*arguments)

    monkeypatch.setattr(one_step, "tokenizer_step", refused)
    with pytest.raises(type(error)):
        again(tmp_path, "run.save_every=3")
    assert exported_step(tmp_path / "export") == 2
    assert "The run ended at step 2 of 6: " in (tmp_path / "report.html").read_text()
