"""A tokenizer folder with an extra decoder."""

import shutil

import pytest

from decoder_cases import saved_folder


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return saved_folder(tmp_path_factory.mktemp("decoders") / "a")


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "a")
