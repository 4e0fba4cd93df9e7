"""A tokenizer of more codes than can be counted one by one, from training to tokens and back."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runs import config, logged, new_process
from samples import PHOTOS
from vistok.inference.commands.detokenize_images import app as detokenize
from vistok.inference.commands.evaluate_tokenizer import app as evaluate
from vistok.inference.commands.tokenize_images import app as tokenize
from vistok.train.commands.finetune_tokenizer import app as finetune
from vistok.train.loop import train

LFQ = [
    "model.quantizer={name: lfq, dim: 36}",
    "losses={l2: 1.0, commitment: 0.25, sample_entropy: 0.01, codebook_entropy: 0.01}",
]
ESTIMATED = "Usage and perplexity are estimates from 4,194,304 hash slots, because 2^36 codes are too many"


@pytest.fixture(autouse=True)
def fresh_launcher():
    """Let each test have its own precision: accelerate keeps one state a process."""
    new_process()


def call(app, *arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return train(config(out, *LFQ, steps=2)).parent


def test_the_console_says_so_at_the_start(tmp_path, capfd):
    train(config(tmp_path / "run", *LFQ, steps=1))
    assert f"warning: {ESTIMATED}" in " ".join(capfd.readouterr().out.split())


def test_training_logs_and_reports_an_estimate(run):
    last = logged(run)[-1]
    assert 0 < last["codebook/usage"] * 2**36 <= last["codebook/tokens"] * 1.01 and last["codebook/perplexity"] > 1
    assert not any("alarms" in line for line in logged(run))
    assert ESTIMATED in (run / "report.html").read_text()


def test_evaluation_says_that_it_estimates(run, tmp_path):
    said = call(evaluate, run / "export", PHOTOS, "--out", tmp_path)
    facts = json.loads((tmp_path / "metrics.json").read_text())
    assert facts["usage_is_estimated"] and 1 <= facts["usage"] * 2**36 <= facts["tokens"] * 1.01
    assert 1 <= facts["effective_rank"] <= 36 and 1 <= facts["latent_effective_rank"] <= 36
    assert "estimates" in said and ESTIMATED in (tmp_path / "report.html").read_text()


def test_tokens_are_made_and_read(run, tmp_path):
    said = call(tokenize, PHOTOS, "--model", run / "export", "--out", tmp_path / "tokens", "--size", 64)
    assert "of 68,719,476,736 codes" in said and "perplexity about" in said
    call(detokenize, tmp_path / "tokens", "--model", run / "export", "--out", tmp_path / "back")
    assert len(list((tmp_path / "back").glob("*.png"))) == 6


def test_a_quantizer_of_as_many_codes_is_fitted(run, tmp_path):
    settings = ["fit.steps=2", "fit.batch_size=64", "decoder.steps=1", "data.crop=32", "data.batch_size=2"]
    settings = [argument for value in [*settings, "data.workers=0"] for argument in ("--set", value)]
    call(finetune, run / "export", PHOTOS, "--out", tmp_path, "--quantizer", "bsq", "--dim", 62, *settings)
    facts = json.loads((Path(tmp_path) / "metrics.json").read_text())
    assert 0 < facts["before"]["usage"] < 1e-6 and 0 < facts["after"]["usage"] < 1e-12
    assert "of 2^62 codes" in (tmp_path / "report.html").read_text()
