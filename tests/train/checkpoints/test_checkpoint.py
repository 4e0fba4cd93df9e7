"""Checkpoints are whole or skipped."""

import errno
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from vistok.train.checkpoints import checkpoint as module
from vistok.train.checkpoints.checkpoint import checkpoint_step, good_checkpoint, save_checkpoint
from vistok.train.checkpoints.states import keep_in_checkpoints, processes_of
from vistok.train.logs.running_means import RunningMeans


@pytest.fixture
def accelerator():
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Linear(2, 2)
    accelerator.prepare(model, torch.optim.AdamW(model.parameters()))
    yield accelerator
    accelerator.free_memory()


@pytest.fixture
def folder(accelerator, tmp_path):
    for step in (5, 10):
        save_checkpoint(accelerator, tmp_path, step, keep=3, facts={})
    return tmp_path


def test_the_newest_is_found_and_the_oldest_go(accelerator, folder):
    for step in (15, 20):
        save_checkpoint(accelerator, folder, step, keep=3, facts={})
    assert [path.name for path in sorted(folder.iterdir())] == ["step-0000010", "step-0000015", "step-0000020"]
    assert good_checkpoint(folder) == (folder / "step-0000020", [])
    assert checkpoint_step(folder / "step-0000020") == 20


def test_no_folder_is_no_checkpoint(tmp_path):
    assert good_checkpoint(tmp_path / "none") == (None, [])


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.unlink()])
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.bin", "seal.json"])
def test_a_broken_newest_one_is_passed_over_with_its_name(folder, damage, file):
    damage(folder / "step-0000010" / file)
    found, (warning,) = good_checkpoint(folder)
    assert found == folder / "step-0000005"
    assert f"{folder / 'step-0000010'} is skipped" in warning


def test_when_all_are_broken_there_is_none_and_each_is_named(folder):
    for name in ("step-0000005", "step-0000010"):
        shutil.rmtree(folder / name)
        (folder / name).mkdir()
    found, warnings = good_checkpoint(folder)
    assert found is None and len(warnings) == 2


def test_the_seal_holds_every_file(folder):
    checkpoint = folder / "step-0000010"
    sealed = set(json.loads((checkpoint / "seal.json").read_text()))
    assert sealed == {path.name for path in checkpoint.iterdir()} - {"seal.json"}


def test_a_full_disk_leaves_nothing_and_the_older_ones(accelerator, folder, monkeypatch):
    def save_state(path):
        (folder / "step-0000015.part").mkdir()
        (folder / "step-0000015.part" / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(accelerator, "save_state", save_state)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(OSError) as caught:
        save_checkpoint(accelerator, folder, 15, keep=3, facts={})
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in sorted(folder.iterdir())] == ["step-0000005", "step-0000010"]


@pytest.mark.parametrize("where", ["save_state", "_seal"])
def test_a_disk_that_refuses_a_file_larger_than_its_room_is_full(accelerator, folder, monkeypatch, where):
    def refuse(path):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(accelerator if where == "save_state" else module, where, refuse)
    with pytest.raises(OSError, match=r"No space left on device.*step-0000015"):
        save_checkpoint(accelerator, folder, 15, keep=3, facts={})
    assert [path.name for path in sorted(folder.iterdir())] == ["step-0000005", "step-0000010"]


def test_each_process_has_a_file_of_its_own(accelerator, tmp_path):
    hooks, ema = [], SimpleNamespace(state_dict=dict, load_state_dict=lambda state: None)
    windows = [RunningMeans(accelerator) for _ in range(2)]
    for index, window in enumerate(windows):
        process = SimpleNamespace(
            process_index=index,
            num_processes=2,
            is_main_process=index == 0,
            device=torch.device("cpu"),
            register_save_state_pre_hook=hooks.append,
            register_load_state_pre_hook=hooks.append,
        )
        keep_in_checkpoints(process, ema, [window])
        window.add({"loss": torch.tensor(3.0 + index)})
    save_0, load_0, save_1, load_1 = hooks
    for save in (save_0, save_1):
        save([], [], str(tmp_path))
        torch.save({}, tmp_path / f"random_states_{len(list(tmp_path.glob('random*')))}.pkl")
    (tmp_path / "facts.json").write_text("{}")
    assert processes_of(tmp_path) == 2
    windows[0].summarise(), windows[1].summarise()
    load_0([], str(tmp_path)), load_1([], str(tmp_path))
    assert [window.summarise() for window in windows] == [{"loss": 3.0}, {"loss": 4.0}]
    (tmp_path / "process-1.pt").unlink()
    load_0([], str(tmp_path))
    assert windows[0].steps == 0, "written by one process, loaded by two: nobody loads"


def test_any_other_failure_is_raised_as_it_is(accelerator, folder, monkeypatch):
    def save_state(path):
        raise RuntimeError("something else")

    monkeypatch.setattr(accelerator, "save_state", save_state)
    with pytest.raises(RuntimeError, match="something else"):
        save_checkpoint(accelerator, folder, 15, keep=3, facts={})
