"""The programs and the notebook in examples/ run as they are."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from samples import PHOTOS

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(folder, *command):
    command = [sys.executable, *command] if command[0].endswith(".py") else command
    result = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_encode_and_look(tmp_path):
    photos = [str(PHOTOS / name) for name in ("coffee.jpg", "rocket.jpg")]
    said = run(tmp_path, str(EXAMPLES / "encode_and_look.py"), *photos)
    assert said.count("1024 tokens") == 2 and "looked.png" in said
    with Image.open(tmp_path / "looked.png") as sheet:
        assert sheet.size == (512, 512)


def test_tokens_in_a_dataloader(tmp_path):
    run(tmp_path, "tokenize-images", str(PHOTOS), "--out", "tokens", "--quiet")
    said = run(tmp_path, str(EXAMPLES / "tokens_in_a_dataloader.py"), "tokens")
    assert said.count("ids (2, 1026)") == 3 and "embedded (2, 1026, 16)" in said


def test_train_own_quantizer(tmp_path):
    said = run(tmp_path, str(EXAMPLES / "train_own_quantizer.py"), str(PHOTOS), "--steps", "2")
    assert "runs/ternary/export: 6561 codes" in said and (tmp_path / "runs" / "ternary" / "report.html").is_file()


@pytest.mark.parametrize("folder", [EXAMPLES, ROOT], ids=["from its folder", "from the root"])
def test_the_notebook(folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3


def test_every_program_is_tested():
    tested = Path(__file__).read_text()
    for program in EXAMPLES.iterdir():
        if program.is_file():  # scripts/browser_example.py tests the page in a browser
            assert program.name in tested, program
