"""export-tokenizer: a tokenizer folder from a run folder, at any time."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from runs import QUANTIZERS, config, new_process
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.tokenizer.folder_lock import hold_folder
from vistok.train import export_run as module
from vistok.train.commands.export_tokenizer import app
from vistok.train.export import exported_step
from vistok.train.loop import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    new_process()
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(config(folder, *QUANTIZERS["ema"], "run.keep_checkpoints=9"))
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.stderr
    return result.stdout + result.stderr


def test_the_newest_checkpoint_gives_what_the_run_exported(run):
    whole = (run / "export" / "model.safetensors").read_bytes()
    shutil.rmtree(run / "export")
    assert call(run) == f"tokenizer   {run / 'export'} (after 6 steps)\n"
    assert (run / "export" / "model.safetensors").read_bytes() == whole
    assert load_tokenizer(run / "export") and "Trained for 6 steps" in (run / "export" / "README.md").read_text()


def test_a_checkpoint_by_its_step_and_a_folder_of_its_own(run, tmp_path):
    facts = json.loads(call(run, "--checkpoint", "2", "--out", tmp_path / "early", "--json"))
    assert facts == {"tokenizer": str(tmp_path / "early"), "step": 2}
    assert "Trained for 2 of 6 steps" in (tmp_path / "early" / "README.md").read_text()
    early, late = (load_file(folder / "model.safetensors") for folder in (tmp_path / "early", run / "export"))
    assert early.keys() == late.keys() and not all(torch.equal(early[name], late[name]) for name in early)
    said = call(run, "--checkpoint", "3", "--out", tmp_path / "x", code=2)
    assert "--checkpoint is 3, but the good checkpoints of" in said and "are of steps 2, 4, 6: give one." in said


def test_an_active_run_is_only_read(run, tmp_path):
    with hold_folder(run, "train-tokenizer"):
        before = sorted(path for path in run.rglob("*"))
        call(run, "--out", tmp_path / "out")
        said = call(run, code=2)
        assert "train-tokenizer (pid" in said and "give --out to export to another folder" in said
        assert "give --out" in call(run, "--out", run / "export", code=2)
        assert sorted(path for path in run.rglob("*")) == before
    assert exported_step(tmp_path / "out") == 6


def test_a_broken_checkpoint_is_passed_over(run, tmp_path):
    (run / "checkpoints" / "step-0000006" / "shared.pt").write_bytes(b"")
    said = call(run, "--out", tmp_path / "out")
    assert "warning: " in said and "step-0000006 is skipped" in said and "(after 4 steps)" in said
    for checkpoint in (run / "checkpoints").iterdir():
        (checkpoint / "seal.json").unlink()
    assert "has no good checkpoint yet" in call(run, "--out", tmp_path / "out", code=2)


def test_an_export_with_more_steps_than_the_checkpoint_stays(run):
    for step in (4, 6):
        shutil.rmtree(run / "checkpoints" / f"step-{step:07d}")
    said = call(run)
    assert "is of step 6, later than that checkpoint: it stays" in said and "(after 6 steps)" in said
    assert exported_step(run / "export") == 6
    call(run, "--checkpoint", "2")
    assert exported_step(run / "export") == 2


def test_a_checkpoint_that_the_run_removes_in_between_is_not_missed(run, tmp_path, monkeypatch):
    read = module.ema_state

    def removing(checkpoint):
        if checkpoint.name == "step-0000006":
            shutil.rmtree(checkpoint)
        return read(checkpoint)

    monkeypatch.setattr(module, "ema_state", removing)
    assert "(after 4 steps)" in call(run, "--out", tmp_path / "out")


def test_what_is_no_run_folder_is_a_sentence(run, tmp_path):
    said = call(run / "export", code=2)
    assert "is a tokenizer folder already: give a run folder" in said
    assert "is not a run folder: it has no folder checkpoints" in call(tmp_path / "nothing", code=2)
    assert not (tmp_path / "nothing").exists()


def test_a_checkpoint_is_not_written_over(run):
    checkpoint = run / "checkpoints" / "step-0000002"
    before = (checkpoint / "model.safetensors").read_bytes()
    for out in (checkpoint, run / "checkpoints", run / "checkpoints" / "new"):
        said = call(run, "--out", out, code=2)
        assert f"--out is {out}, where the run keeps its checkpoints: give a folder outside" in said
    assert (checkpoint / "model.safetensors").read_bytes() == before
