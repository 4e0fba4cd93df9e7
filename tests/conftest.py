"""Fixtures that the tests share."""

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores; what they start, too

import pytest
import torch

from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

if not torch.cuda.is_available():
    # CUDA kernels are run step by step on the CPU; triton reads this once, when it is imported.
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported tokenizer of 300 codes that takes images of 64 x 64."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, small_tokenizer(), ARCHITECTURE, PreprocessingConfig(size=64), "# small\n")
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
