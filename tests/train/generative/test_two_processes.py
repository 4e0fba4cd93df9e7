"""A run of fgm on two processes with micro-batches: equal weights on both, and an exact resume."""

import shutil

import pytest
import torch
from prepared import run_prepared, run_ranks
from safetensors.torch import load_file

from decoder_runs import decoder_options
from runs import DEBUG, logged
from samples import PHOTOS

SHARED = [f"data.train={PHOTOS}", "data.val=[]", "run.steps=4", "run.log_every=1", "run.save_every=2", "data.size=32"]
SHARED += ["data.batch_size=8", "optimizer.warmup=2", "run.gradient_accumulation=2"]


def weights(out):
    return load_file(out / "export" / "decoders" / "generative" / "model.safetensors")


def test_it_resumes_bit_for_bit(tmp_path, flow_folder):
    options = [DEBUG, *decoder_options(flow_folder, "fgm", flow_folder), *SHARED]
    whole, late = tmp_path / "whole", tmp_path / "late"
    run_ranks("vistok.train", [*options, f"run.out={whole}"], tmp_path)
    shutil.copytree(whole, late)
    shutil.rmtree(late / "checkpoints" / "step-0000004")
    run_ranks("vistok.train", [*options, f"run.out={late}"], tmp_path)
    assert (late / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    first, second = weights(whole), weights(late)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_decoder_learns_from_the_mean_of_both(tmp_path, tokenizer_folder):
    """The weights of the noise of gan begin at 0, so the first loss is that of one process; their gradient alone differs."""
    gan = [DEBUG, *decoder_options(tokenizer_folder, "gan"), *SHARED, "optimizer.name=adamw"]
    run_ranks("vistok.train", [*gan, f"run.out={tmp_path / 'two'}"], tmp_path)
    run_prepared("vistok.train", [*gan, f"run.out={tmp_path / 'one'}"], tmp_path / "log")
    (one, *_), (two, *_) = (logged(tmp_path / name) for name in ("one", "two"))
    assert two["loss/l1"] == pytest.approx(one["loss/l1"], rel=1e-5)
    assert two["optimizer/gradient_norm"] == pytest.approx(one["optimizer/gradient_norm"], rel=0.02)
