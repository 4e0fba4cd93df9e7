"""Fixtures that the tests share."""

from pathlib import Path

import pytest

from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.weights import save_tokenizer


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported tokenizer of 300 codes that takes pictures of 64 x 64."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder, small_tokenizer(), ARCHITECTURE, PreprocessingConfig(size=64), "# small\n")
    return folder
