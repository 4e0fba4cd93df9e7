"""Small runs of the trainer, and their data."""

import json
import shutil
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from typer.testing import CliRunner

from samples import PHOTOS
from vistok.tokenizer.config import parse_config
from vistok.train import step as one_step
from vistok.train.commands.finetune_tokenizer import app as finetune_app
from vistok.train.config_file import read_config
from vistok.train.data.batches import training_batches
from vistok.train.data.config import DataConfig
from vistok.train.loop import train

ROOT = Path(__file__).parents[1]
DEBUG = ROOT / "configs" / "debug.yaml"
QUANTIZERS = {
    "fsq": ["model.quantizer={name: fsq, levels: [5, 5, 5]}", "losses={l2: 1.0}"],
    "ema": ["model.quantizer={name: ema, dim: 8, codebook_size: 32}", "losses={l1: 1.0, commitment: 0.25}"],
    "gumbel": [
        "model.quantizer={name: gumbel, dim: 8, codebook_size: 32, final_temperature: 0.1, anneal_steps: 4}",
        "model.architecture.encoder={channels: [32, 32], blocks: [1, 1], middle_blocks: 3, middle_attention: false}",
        "losses={l1: 1.0, kl: 0.001}",
    ],
    "vq": [
        "model.quantizer={name: vq, dim: 8, codebook_size: 32, similarity: cosine}",
        "codebook={initialization: kmeans, vectors_per_code: 4, revive_every: 2}",
        "optimizer.codebook_rows=lazy",
    ],
    "residual": [
        "model.quantizer={name: residual, depth: 3, shared: true, dropout: 0.5, quantizer: {name: simvq, dim: 8, "
        "codebook_size: 32, trained_basis: true}}",
        "codebook={initialization: kmeans, vectors_per_code: 4, revive_every: 2}",
        "optimizer.second_moment=centred",
    ],
}
FSQ = QUANTIZERS["fsq"]
ADVERSARIAL = [
    "losses.adversarial=0.1",
    "adversarial={start: 1, ramp: 2, adaptive: true, lecam: 0.1, r1: 1.0, r1_every: 2, discriminator: {name: patch, "
    "channels: 8, layers: 1}}",
]


def config(out, *overrides, steps=6):
    shared = [f"data.train={PHOTOS}", "data.val=[]", f"run.out={out}", f"run.steps={steps}", "run.log_every=2"]
    small = ["run.save_every=2", "data.size=32", "data.batch_size=4", "optimizer.warmup=2"]
    return read_config(DEBUG, [*shared, *small, *overrides])


def logged(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def data_config(train, **more):
    """Return a config of crops of 32 x 32 pixels, read in this process."""
    path = str(train) if isinstance(train, Path) else train
    return parse_config(DataConfig, {"train": path, "size": 32, "batch_size": 4, "workers": 0, **more})


def batches(crops, start=0, steps=6, rank=0, world=1):
    return list(training_batches(crops, start, steps, rank, world))


def new_process():
    """Let the next run begin as in a new process: accelerate keeps one state per process."""
    AcceleratorState._reset_state(reset_partial_state=True)


def train_again(out, *overrides, steps=6):
    """Train, or resume a run, as a new process would."""
    new_process()
    return train(config(out, *overrides, steps=steps))


def resumed_equals_whole(tmp_path, *overrides):
    """Assert that a run resumed from its second checkpoint of three ends with the same log and weights."""
    whole = train(config(tmp_path / "whole", *overrides))
    late = tmp_path / "late"  # killed after step 4: later lines in its log, no later checkpoint
    shutil.copytree(tmp_path / "whole", late)
    shutil.rmtree(late / "checkpoints" / "step-0000006")
    shutil.rmtree(late / "export")
    resumed = train_again(late, *overrides)
    assert (late / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def interrupt_at(monkeypatch, step, error=KeyboardInterrupt):
    """Interrupt the first run that comes to `step`."""
    take, left = one_step.tokenizer_step, [step]

    def interrupted(run, number, micro_batches):
        if left == [number]:
            left.clear()
            raise error
        return take(run, number, micro_batches)

    monkeypatch.setattr(one_step, "tokenizer_step", interrupted)


QUICK = ["fit.steps=9", "fit.batch_size=128", "decoder.steps=4", "save_every=2"]
QUICK += ["data.crop=32", "data.batch_size=2", "data.workers=0"]
SWAP = ["--quantizer", "vq", "--codebook-size", 32, "--steps", 4]
"""Options of a fine-tuning of all three stages."""


def finetune_options(model, data, out, *options):
    sources = data if isinstance(data, list) else [data]
    quick = [part for value in QUICK for part in ("--set", value)]
    return [str(part) for part in (model, *sources, "--out", out, *quick, *options)]


def finetune(model, data, out, *options, code=0):
    """Call finetune-tokenizer with few steps, as a new process would; return what it printed, as one line."""
    new_process()
    result = CliRunner().invoke(finetune_app, finetune_options(model, data, out, *options))
    assert result.exit_code == code, result.output + result.stderr
    return " ".join((result.output + result.stderr).split())
