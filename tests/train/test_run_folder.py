"""A run folder is held by one command, survives signals, and keeps files of others."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from accelerate import Accelerator
from typer.testing import CliRunner

from runs import DEBUG, QUANTIZERS, config, logged, new_process
from samples import PHOTOS
from vistok.tokenizer import files
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.tokenizer.folder_lock import FolderBusyError, hold_folder
from vistok.train.checkpoints.checkpoint import good_checkpoint, save_checkpoint
from vistok.train.commands.train_tokenizer import app
from vistok.train.logs.log_file import LogFile
from vistok.train.loop import train

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


def again(out, *overrides, steps=4):
    new_process()
    return train(config(out, *QUANTIZERS["fsq"], *overrides, steps=steps))


def launched(out, *more, steps=4000):
    values = [f"data.train={PHOTOS}", "data.val=[]", f"run.out={out}", f"run.steps={steps}", "run.log_every=2"]
    values += ["run.save_every=4", "data.size=32", "data.batch_size=4", *QUANTIZERS["fsq"], *more]
    command = [Path(sys.executable).parent / "train-tokenizer", DEBUG, *values]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, process):
    while not path.exists() and process.poll() is None:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_folder_that_is_held_is_not_touched(tmp_path):
    with (
        hold_folder(tmp_path, "other-command"),
        pytest.raises(
            FolderBusyError,
            match=rf"{tmp_path} is being written to by other-command \(pid {os.getpid()} on .*\): wait until it",
        ),
    ):
        again(tmp_path)
    assert list(tmp_path.iterdir()) == []
    again(tmp_path, steps=2)


def test_a_second_command_on_a_run_folder_is_one_sentence(tmp_path):
    """The second call answers with a sentence and exit code 2; no checkpoint of the first is touched."""
    with hold_folder(tmp_path, "train-tokenizer"):
        result = CliRunner().invoke(app, [str(DEBUG), f"run.out={tmp_path}", f"data.train={PHOTOS}", "data.val=[]"])
    assert result.exit_code == 2 and "is being written to by train-tokenizer (pid" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("reaches_all", [False, True], ids=["process", "group"])
def test_a_signal_ends_a_run_and_its_workers_within_seconds(tmp_path, number, reaches_all):
    process = launched(tmp_path, "data.workers=2")
    wait_for(tmp_path / "checkpoints" / "step-0000004", process)
    workers = children_of(process.pid)
    began = time.monotonic()
    for pid in [process.pid, *(workers if reaches_all else [])]:
        os.kill(pid, number)
    _, said = process.communicate(timeout=30)
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() - began < 20:
        time.sleep(0.01)  # who has ended is in the list until it is reaped
    assert time.monotonic() - began < 20
    assert process.returncode == 1
    assert said == "train-tokenizer: interrupted: run the same command again to continue.\n"
    assert len(workers) >= 2
    checkpoint, warnings = good_checkpoint(tmp_path / "checkpoints")
    assert checkpoint and warnings == []


def test_a_run_that_was_killed_leaves_no_lock_although_its_workers_live_on(tmp_path):
    process = launched(tmp_path, "data.workers=2")
    wait_for(tmp_path / "checkpoints" / "step-0000004", process)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    with hold_folder(tmp_path, "at once"):
        pass


def test_ctrl_c_within_a_checkpoint_leaves_the_old_one(tmp_path, monkeypatch):
    accelerator = Accelerator(cpu=True)
    save_checkpoint(accelerator, tmp_path, 5, keep=1, facts={})
    for where in ("_seal", "flush_path"):
        with monkeypatch.context() as patch:

            def interrupt(path):
                raise KeyboardInterrupt

            patch.setattr(f"vistok.train.checkpoints.checkpoint.{where}", interrupt)
            with pytest.raises(KeyboardInterrupt):
                save_checkpoint(accelerator, tmp_path, 10, keep=1, facts={})
        assert good_checkpoint(tmp_path)[0] == tmp_path / "step-0000005"
    save_checkpoint(accelerator, tmp_path, 10, keep=1, facts={})
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000010"]


def test_a_broken_newer_one_does_not_count_among_those_that_are_kept(tmp_path):
    accelerator = Accelerator(cpu=True)
    for step in (5, 100):
        save_checkpoint(accelerator, tmp_path, step, keep=2, facts={})
    (tmp_path / "step-0000100" / "seal.json").unlink()
    for step in (10, 15):
        save_checkpoint(accelerator, tmp_path, step, keep=1, facts={})
        assert good_checkpoint(tmp_path)[0] == tmp_path / f"step-{step:07d}"
    save_checkpoint(accelerator, tmp_path, 100, keep=1, facts={})
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000100"]


def test_what_others_put_beside_checkpoints_is_left_alone(tmp_path):
    accelerator = Accelerator(cpu=True)
    (tmp_path / "step-0000003").write_text("a file")
    for name in ("0000009", "step-", "step-x", "step-1.0", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-0000002.part").write_text("left behind")
    found, (warning,) = good_checkpoint(tmp_path)
    assert found is None and "step-0000003 is skipped" in warning
    save_checkpoint(accelerator, tmp_path, 5, keep=1, facts={})
    assert {path.name for path in tmp_path.iterdir()} == {
        "0000009",
        "step-",
        "step-x",
        "step-1.0",
        "notes",
        "step-0000005",
    }


def test_a_checkpoint_that_may_not_be_read_is_not_a_broken_one(tmp_path, monkeypatch):
    again(tmp_path, steps=2)
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("vistok.train.checkpoints.checkpoint._size_and_checksum", refuse)
    with pytest.raises(PermissionError):
        again(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_file_named_checkpoints_is_an_error_before_training(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    result = CliRunner().invoke(app, [str(DEBUG), f"run.out={tmp_path}", f"data.train={PHOTOS}", "data.val=[]"])
    assert result.exit_code == 1
    assert "train-tokenizer: Not a directory" in result.stderr and "move the file away" in result.stderr


def test_the_tokenizer_of_a_run_without_checkpoints_is_not_written_over(tmp_path):
    import shutil

    folder = again(tmp_path, steps=2)
    before = (folder / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(
        ValueError, match=r"holds the tokenizer of a run, in export, but no checkpoint to resume from: use"
    ):
        again(tmp_path)
    with pytest.raises(ValueError, match=r"holds a run with run.seed 0, not 3: use another run.out, or the value it"):
        again(tmp_path, "run.seed=3")
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(ValueError, match="holds the tokenizer of a run"):
        again(tmp_path, "run.seed=3")
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("others", [False, True], ids=["ours", "with-a-note-of-others"])
def test_a_stop_within_the_export_leaves_the_old_one_whole(tmp_path, monkeypatch, others):
    folder = again(tmp_path, steps=2)
    whole = (folder / "model.safetensors").read_bytes()
    if others:
        (folder / "note.txt").write_text("mine")

    def stop(path, content):
        assert path.name == "model.safetensors"  # the first file that is written
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("vistok.tokenizer.folder.weight_file.write_whole", stop)
        again(tmp_path, steps=2)
    assert load_tokenizer(folder) and (folder / "note.txt").exists() == others
    assert (folder / "model.safetensors").read_bytes() == whole
    assert (again(tmp_path, steps=2) / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize("name", ["metrics.jsonl", "step-0000002", "config.json", "config.yaml", "images.pt"])
def test_a_full_disk_is_one_sentence_and_the_run_can_resume(tmp_path, monkeypatch, name, capsys):
    whole = again(tmp_path / "whole")
    out = tmp_path / "full"

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        if name == "metrics.jsonl":
            patch.setattr("vistok.train.logs.log_file.LogFile.append", lambda log, line: full(log._path))
        elif name == "step-0000002":
            patch.setattr("vistok.train.checkpoints.checkpoint._seal", full)
        else:
            write = files.write_whole

            def write_whole(path, content):
                return full(path) if path.name == name else write(path, content)

            for module in ("tokenizer.folder.save_load", "train.loop", "train.checkpoints.checked_file"):
                patch.setattr(f"vistok.{module}.write_whole", write_whole)
        new_process()
        values = ["data.val=[]", "run.steps=4", "run.log_every=2", "run.save_every=2", "data.size=32"]
        values += [f"data.train={PHOTOS}", "data.batch_size=4", "optimizer.warmup=2", *QUANTIZERS["fsq"]]
        result = CliRunner().invoke(app, [str(DEBUG), f"run.out={out}", *values])
        assert result.exit_code == 1
        assert re.search(rf"the disk is full \(.*{name}\): make room and run the same command again", result.stderr)
    resumed = again(out)
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (out / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_damaged_shard_is_refused_before_a_run_begins(tmp_path):
    import tarfile

    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as tar:
        for image in sorted(PHOTOS.glob("*.jpg")):
            tar.add(image, image.name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(WorkFailedError, match="photos.tar is cut off within"):
        again(tmp_path / "run", f"data.train={path}")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_json_is_one_line_and_quiet_prints_nothing_more(tmp_path):
    values = [str(DEBUG), f"data.train={PHOTOS}", "data.val=[]", f"run.out={tmp_path}", "run.steps=2", "data.size=32"]
    result = CliRunner().invoke(app, [*values, "--json", "--quiet"])
    assert result.exit_code == 0, result.stderr
    import json

    facts = json.loads(result.stdout)
    assert facts["tokenizer"] == str(tmp_path / "export") and facts["step"] == 2 and facts["loss/total"] > 0
    assert result.stderr == ""
    assert logged(tmp_path)[-1]["loss/total"] == facts["loss/total"]


def test_a_loss_that_is_not_finite_names_the_checkpoint(tmp_path, monkeypatch):
    again(tmp_path, steps=2)
    with pytest.raises(WorkFailedError, match=r"lower optimizer.lr; the last good checkpoint is .*step-0000002"):
        again(tmp_path, "optimizer.lr=1e30", steps=6)
    assert good_checkpoint(tmp_path / "checkpoints")[0].name == "step-0000002"


def test_a_disk_that_is_full_while_a_line_is_written_is_named(tmp_path, monkeypatch):
    log = LogFile(tmp_path / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        log.append({"step": 1})
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "metrics.jsonl")


def test_a_tracker_that_cannot_write_is_one_warning(tmp_path, monkeypatch, capfd):
    """What its thread meets is raised by a scalar after it; a traceback of the thread is none of a user's business."""
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "events")

    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(writer.RecordWriter, "write", full)
    again(tmp_path, "run.log_every=1", steps=40)
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    assert (said.out + said.err).count("the tracker tensorboard failed and gets no more scalars: the disk is full") == 1
    assert logged(tmp_path)[-1]["step"] == 40
