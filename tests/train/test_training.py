"""The trainer as a whole: resume, two processes, export, errors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from samples import PHOTOS
from vistok.tokenizer.weights import load_tokenizer
from vistok.train.config import read_config
from vistok.train.loop import train

DEBUG = Path(__file__).parents[2] / "configs" / "debug.yaml"

QUANTIZERS = {
    "fsq": ["model.quantizer={name: fsq, levels: [5, 5, 5]}", "losses={l2: 1.0}"],
    "ema": ["model.quantizer={name: ema, dim: 8, codebook_size: 32}", "losses={l1: 1.0, commitment: 0.25}"],
    "vq": [
        "model.quantizer={name: vq, dim: 8, codebook_size: 32, similarity: cosine}",
        "codebook={initialise: kmeans, vectors_per_code: 4, revive_every: 2}",
    ],
    "residual": [
        "model.quantizer={name: residual, depth: 3, shared: true, dropout: 0.5, quantizer: {name: simvq, dim: 8, "
        "codebook_size: 32, trained_basis: true}}",
        "codebook={initialise: kmeans, vectors_per_code: 4, revive_every: 2}",
    ],
}


@pytest.fixture(autouse=True)
def fresh_launcher():
    """Let each test have its own precision: accelerate keeps one state a process."""
    AcceleratorState._reset_state(reset_partial_state=True)


def config(out, *overrides, steps=6):
    shared = [f"data.train={PHOTOS}", "data.val=[]", f"run.out={out}", f"run.steps={steps}", "run.log_every=2"]
    small = ["run.save_every=2", "data.size=32", "data.batch_size=4", "optimizer.warmup=2"]
    return read_config(DEBUG, [*shared, *small, *overrides])


def logged(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_run_that_is_taken_up_equals_one_that_never_stopped(tmp_path, quantizer):
    whole = train(config(tmp_path / "whole", *QUANTIZERS[quantizer]))
    # Take the run back to its checkpoint of step 4, with later lines in its log, as a kill would leave it.
    late = tmp_path / "late"
    shutil.copytree(tmp_path / "whole", late)
    shutil.rmtree(late / "checkpoints" / "step-0000006")
    shutil.rmtree(late / "export")
    resumed = train(config(late, *QUANTIZERS[quantizer]))
    assert logged(late) == logged(tmp_path / "whole")
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_the_newest_checkpoints_stay_and_nothing_half_written(tmp_path):
    train(config(tmp_path, *QUANTIZERS["fsq"], "run.keep_checkpoints=2"))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-0000004", "step-0000006"]


def test_export_is_the_average_of_the_weights(tmp_path):
    folder = train(config(tmp_path, *QUANTIZERS["fsq"], "run.weight_average=0.0"))
    exported = load_tokenizer(folder).model.state_dict()
    last = load_file(tmp_path / "checkpoints" / "step-0000006" / "model.safetensors")
    assert all(torch.equal(exported[name], last[name]) for name in exported)
    assert "Trained for 6 steps" in (folder / "README.md").read_text()


def test_bfloat16_trains_with_losses_in_float32(tmp_path):
    train(config(tmp_path, *QUANTIZERS["vq"], "run.precision=bfloat16", steps=2))
    assert all(torch.isfinite(torch.tensor(line["loss/total"])) for line in logged(tmp_path))


def test_one_seed_one_run(tmp_path):
    for name in ("a", "b"):
        train(config(tmp_path / name, *QUANTIZERS["vq"], steps=2))
    train(config(tmp_path / "c", *QUANTIZERS["vq"], "run.seed=1", steps=2))
    assert logged(tmp_path / "a") == logged(tmp_path / "b") != logged(tmp_path / "c")


def test_care_without_codes_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="codebook asks for initialisation or revival, but this quantizer has no codes that can be set"
    ):
        train(config(tmp_path, *QUANTIZERS["fsq"], "codebook.revive_every=3"))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(ValueError, match=r"loss/total is (nan|inf) at step \d+: lower optimizer.lr"):
        train(config(tmp_path, *QUANTIZERS["fsq"], "optimizer.lr=1e30", "optimizer.warmup=0"))


WORKER = """
import hashlib, sys
from pathlib import Path
import vistok.train.loop as loop
from vistok.train.config import read_config

save = loop.save_checkpoint

def save_and_note_codes(accelerator, folder, step, keep):
    model = accelerator.unwrap_model(accelerator._models[0])
    state = model.quantizer.state_dict()
    digest = hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()
    Path(f"{folder.parent}-codes-{step}-{accelerator.process_index}").write_text(digest)
    save(accelerator, folder, step, keep)

loop.save_checkpoint = save_and_note_codes
loop.train(read_config(Path(sys.argv[1]), sys.argv[2:]))
"""


@pytest.mark.parametrize("quantizer", ["ema", "vq"])
def test_two_processes_keep_one_codebook_and_equal_one_process(tmp_path, quantizer):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    values = [
        f"data.train={PHOTOS}",
        "data.val=[]",
        "run.steps=4",
        "run.log_every=2",
        "run.save_every=2",
        "data.size=32",
    ]
    values += ["data.batch_size=4", "optimizer.warmup=2", *QUANTIZERS[quantizer]]
    for count in (1, 2):
        launch = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc_per_node={count}",
            str(script),
        ]
        result = subprocess.run(
            [*launch, str(DEBUG), f"run.out={tmp_path / str(count)}", *values],
            env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stderr[-2000:]
    one, two = (logged(tmp_path / str(count)) for count in (1, 2))
    assert len(one) == len(two) == 2
    for single, double in zip(one, two, strict=True):
        assert double["codebook/tokens"] == single["codebook/tokens"]
        assert double["loss/total"] == pytest.approx(single["loss/total"], rel=2e-2)
    for step in (2, 4):
        codes = [(tmp_path / f"2-codes-{step}-{rank}").read_text() for rank in range(2)]
        assert codes[0] == codes[1]
