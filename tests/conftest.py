"""Fixtures that the tests share."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores; what they start, too

import pytest
import torch

from hub_server import Hub, serve_hub
from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

if not torch.cuda.is_available():
    # CUDA kernels are run step by step on the CPU; triton reads this once, when it is imported.
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def fresh_launcher() -> None:
    """Let each test that trains have its own precision: accelerate keeps one state a process."""
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported tokenizer of 300 codes that takes images of 64 x 64."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, small_tokenizer(), ARCHITECTURE, PreprocessingConfig(size=64), "# small\n")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on the loopback that this process and those it starts use, with empty caches and no token."""
    from huggingface_hub import constants
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    home = tmp_path / "hf"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    # The client of the hub reads its environment when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    have_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    with serve_hub(home) as served:
        for name, value in {"HF_ENDPOINT": served.url, "HF_HOME": str(home), "no_proxy": "*"}.items():
            monkeypatch.setenv(name, value)
        yield served
    if have_bars:
        enable_progress_bars()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
