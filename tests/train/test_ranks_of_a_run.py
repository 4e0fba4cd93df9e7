"""Two processes of a run: separate noise, shared weights, signals, launches that are refused."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prepared import run_ranks
from typer.testing import CliRunner

from runs import DEBUG, ROOT
from samples import PHOTOS
from vistok.train.checkpoints.checkpoint import checkpoint_step, good_checkpoint
from vistok.train.commands.train_tokenizer import app
from vistok.train.export import exported_step
from vistok.train.launcher import SHARDED, preserve_rng_state, seed_noise

WORKER = """
import json, random, sys
from pathlib import Path
import numpy, torch
from vistok.train import step as one_step
import vistok.train.loop as loop
from vistok.train.config_file import read_config

take, folder = one_step.tokenizer_step, Path(sys.argv[1])

def noting(run, step, micro_batches):
    with torch.random.fork_rng():
        noise = torch.rand(2).tolist()
    state = random.getstate(), numpy.random.get_state()
    noise += [random.random(), float(numpy.random.rand())]
    random.setstate(state[0]); numpy.random.set_state(state[1])
    model = run.accelerator.unwrap_model(run.wrapped_model)
    weights = [float(sum(p.double().sum() for p in model.parameters()))]
    rank = run.accelerator.process_index
    with open(folder / f"{run.config.run.out.name}-{rank}", "a") as file:
        file.write(json.dumps([step, noise, weights]) + "\\n")
    return take(run, step, micro_batches)

one_step.tokenizer_step = noting
loop.train(read_config(sys.argv[2], sys.argv[3:]))
"""
RESIDUAL = "model.quantizer={name: residual, depth: 3, dropout: 0.5, quantizer: {name: vq, dim: 8, codebook_size: 16}}"
VALUES = [f"data.train={PHOTOS}", "data.val=[]", "run.log_every=1", "run.save_every=2", "data.size=32"]
VALUES += ["data.batch_size=4", "optimizer.warmup=2", "data.workers=0", RESIDUAL]
VALUES += ["losses={l2: 1.0, commitment: 0.25, codebook: 1.0}"]
ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
TWO = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--main_process_port", "0"]
TWO += ["--config_file", str(ROOT / "configs" / "launch" / "two-processes-cpu.yaml")]


def noted(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_ranks_draw_their_own_noise_from_equal_weights_and_resume_bit_for_bit(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    whole = tmp_path / "whole"
    run_ranks(script, [tmp_path, DEBUG, f"run.out={whole}", "run.steps=4", *VALUES], tmp_path)
    first, second = (noted(tmp_path / f"whole-{rank}") for rank in range(2))
    for one, other in zip(first, second, strict=True):
        assert one[0] == other[0] and one[2] == other[2]
        assert not set(one[1]) & set(other[1])
    assert len({json.dumps(noise) for _, noise, _ in first}) == 4
    # Resumed at step 2: the same noise on each rank, the same bytes in the end.
    late = tmp_path / "late"
    shutil.copytree(whole, late)
    shutil.rmtree(late / "checkpoints" / "step-0000004")
    run_ranks(script, [tmp_path, DEBUG, f"run.out={late}", "run.steps=4", *VALUES], tmp_path)
    for rank, notes in enumerate((first, second)):
        assert noted(tmp_path / f"late-{rank}") == notes[2:]
    assert (late / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    digests = {
        hashlib.sha256((folder / "export" / "model.safetensors").read_bytes()).digest() for folder in (whole, late)
    }
    assert len(digests) == 1
    # One process resumes what two started, with the noise of its rank and step.
    run_ranks(script, [tmp_path, DEBUG, f"run.out={late}", "run.steps=6", *VALUES], tmp_path, ranks=1)
    assert [step for step, *_ in noted(tmp_path / "late-0")] == [3, 4, 5, 6]


def test_noise_is_a_function_of_seed_rank_and_step():
    import random

    import numpy as np
    import torch

    def draws(*key):
        seed_noise(*key)
        return torch.rand(1).item(), float(np.random.rand()), random.random()

    keys = [(seed, rank, step) for seed in range(3) for rank in range(3) for step in range(3)]
    assert len({number for key in keys for number in draws(*key)}) == 3 * len(keys)
    assert draws(5, 1, 7) == draws(5, 1, 7)
    seed_noise(5, 1, 7)
    with preserve_rng_state():
        draws(0, 0, 0)
    assert (torch.rand(1).item(), float(np.random.rand()), random.random()) == draws(5, 1, 7)


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("whom", ["rank 1", "all"])
def test_a_signal_to_any_process_ends_all_and_leaves_a_whole_tokenizer(tmp_path, whom):
    values = [DEBUG, f"run.out={tmp_path}", "run.steps=4000", *VALUES]
    process = subprocess.Popen(
        [*TWO, "-m", "vistok.train", *map(str, values)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (tmp_path / "checkpoints" / "step-0000002").exists() and process.poll() is None:
        time.sleep(0.02)
    ranks = children_of(process.pid)
    assert process.poll() is None and len(ranks) >= 2
    began = time.monotonic()
    targets = {"rank 1": ranks[1:2], "all": [process.pid, *ranks]}[whom]
    for pid in targets:
        os.kill(pid, signal.SIGINT if whom == "all" else signal.SIGTERM)
    assert process.wait(timeout=60) != 0
    assert time.monotonic() - began < 45
    checkpoint, warnings = good_checkpoint(tmp_path / "checkpoints")
    assert checkpoint and not warnings
    assert exported_step(tmp_path / "export") >= checkpoint_step(checkpoint)
    assert f"step {exported_step(tmp_path / 'export')} of 4000" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("variable", SHARDED)
def test_a_launch_that_shards_the_model_is_refused(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "true")
    result = CliRunner().invoke(app, [str(DEBUG), f"data.train={PHOTOS}", f"run.out={tmp_path}", "data.val=[]"])
    assert result.exit_code == 2
    sentence = f"the launch asks for {SHARDED[variable]}, which shards the model, but a tokenizer fits on one GPU"
    assert sentence in result.stderr and list(tmp_path.iterdir()) == []


def test_so_is_a_launch_config_of_accelerate(tmp_path):
    launch = tmp_path / "launch.yaml"
    launch.write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n")
    values = [DEBUG, f"data.train={PHOTOS}", f"run.out={tmp_path / 'run'}", "data.val=[]"]
    result = subprocess.run(
        [*TWO[:4], "--num_processes", "1", "--config_file", launch, "-m", "vistok.train", *values],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode != 0 and not (tmp_path / "run").exists()
    assert "train-tokenizer: the launch asks for FSDP, which shards" in result.stderr, result.stderr[-2000:]
