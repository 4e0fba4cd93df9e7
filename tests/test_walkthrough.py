"""From a shipped config to images again, with the installed commands."""

import json
import subprocess
import sys
from pathlib import Path

from samples import PHOTOS

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def call(command, *arguments):
    result = subprocess.run(
        [BIN / command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_train_export_tokenize_detokenize(tmp_path):
    out = tmp_path / "run"
    said = call(
        "train-tokenizer",
        "configs/debug.yaml",
        f"run.out={out}",
        f"data.train={PHOTOS}",
        f"data.val={PHOTOS}",
        "run.steps=2",
        "run.log_every=1",
    )
    assert "Muon" in said and "2/2" in said
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"loss/total", "codebook/usage", "codebook/perplexity", "codebook/distortion"} <= set(lines[0])
    page = (out / "report.html").read_text()
    assert all(title in page for title in ("Validation PSNR", "Losses", "Distortion", "Learning rate"))
    assert (out / "samples" / "step-0000002.png").exists()
    call("tokenize-images", PHOTOS, "--model", out / "export", "--out", tmp_path / "tokens", "--preview", "2")
    assert (tmp_path / "tokens" / "preview.png").exists()
    call("detokenize-images", tmp_path / "tokens", "--model", out / "export", "--out", tmp_path / "back")
    assert len(list((tmp_path / "back").glob("*.png"))) == 6


def test_a_wrong_config_is_one_line_without_traceback():
    result = subprocess.run(
        [BIN / "train-tokenizer", "configs/debug.yaml", "run.stepz=3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("train-tokenizer: run.stepz is not a known key: did you mean 'steps'?")
    assert result.stderr.count("\n") == 1
