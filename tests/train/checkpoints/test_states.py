"""No file of a run folder can run code when it is loaded."""

import json
import os
import pickle
import shutil
import zlib

import pytest
import torch
from accelerate import Accelerator

from runs import ADVERSARIAL, config, new_process
from vistok.train.checkpoints.checked_file import load_checked, save_checked
from vistok.train.checkpoints.states import ema_state, load_states
from vistok.train.loop import train


class Planted:
    """A pickle that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def seal(checkpoint):
    files = [path for path in checkpoint.iterdir() if path.name != "seal.json"]
    content = {path.name: [path.stat().st_size, zlib.crc32(path.read_bytes())] for path in files}
    (checkpoint / "seal.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    new_process()
    train(config(folder, *ADVERSARIAL, steps=2))
    return folder


def test_each_file_that_is_loaded_is_tried_below(run_folder):
    checkpoint = run_folder / "checkpoints" / "step-0000002"
    others = {"model.safetensors", "facts.json", "seal.json"}
    assert {path.name for path in checkpoint.iterdir()} == {*FILES, *others}


FILES = ["optimizer.bin", "optimizer_1.bin", "random_states_0.pkl", "shared.pt", "process-0.pt"]


@pytest.mark.parametrize("name", [*FILES, "custom_checkpoint_0.pkl", "model.safetensors"])
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_planted_pickle_runs_nothing_and_is_a_sentence(run_folder, tmp_path, name, form):
    checkpoint = run_folder / "checkpoints" / "step-0000002"
    path, trap = checkpoint / name, tmp_path / "trap"
    before = path.read_bytes() if path.exists() else None
    try:
        if form == "pickle":
            path.write_bytes(pickle.dumps(Planted(trap)))
        else:
            torch.save([Planted(trap)], path)
        seal(checkpoint)
        with pytest.raises(
            (ValueError, RuntimeError), match="does not hold the states of this run .*: remove it to resume"
        ) as told:
            train(config(run_folder, *ADVERSARIAL, steps=4))
        assert "weights_only" not in str(told.value)  # torch advises to let the file run code
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)
    assert not trap.exists()


def test_checked_files_come_back_or_say_that_they_are_damaged(tmp_path):
    path, trap = tmp_path / "states.pt", tmp_path / "trap"
    assert load_checked(path) is None
    save_checked(path, {"step": 3, "values": torch.arange(4)})
    assert torch.equal(load_checked(path)["values"], torch.arange(4))
    content = path.read_bytes()
    for damaged in (b"", content[:-1], content[:40], content[:100] + bytes([content[100] ^ 1]) + content[101:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"states.pt is damaged\."):
            load_checked(path)
    save_checked(path, Planted(trap))
    with pytest.raises(ValueError, match=r"states.pt is damaged: it holds more than tensors and plain values\.$"):
        load_checked(path)
    assert not trap.exists()


@pytest.mark.parametrize("form", ["pickle", "torch"])
@pytest.mark.parametrize("name", ["scaler.pt", "pytorch_model.bin", "shared.pt"])
def test_so_is_one_in_what_a_gpu_or_another_command_would_load(run_folder, tmp_path, form, name):
    """The scale of float16, weights beside the usual ones, and the averaged weights that export-tokenizer takes."""
    checkpoint = shutil.copytree(run_folder / "checkpoints" / "step-0000002", tmp_path / "step-0000002")
    trap = tmp_path / "trap"
    if name == "pytorch_model.bin":  # accelerate falls back on it
        (checkpoint / "model.safetensors").unlink()
    planted = pickle.dumps(Planted(trap))
    if form == "torch":
        torch.save([Planted(trap)], checkpoint / name)
    else:
        (checkpoint / name).write_bytes(planted)
    seal(checkpoint)
    with pytest.raises(ValueError, match="does not hold the states of this run .*: remove it to resume"):
        if name == "shared.pt":
            ema_state(checkpoint)
        else:
            accelerator = Accelerator(cpu=True)
            accelerator.scaler = torch.amp.GradScaler("cpu")
            if name == "pytorch_model.bin":
                accelerator.prepare(torch.nn.Linear(1, 1))
            load_states(accelerator, checkpoint)
    assert not trap.exists()
