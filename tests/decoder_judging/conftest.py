"""The scripts that compare decoders, photos, and a tokenizer with two extra decoders."""

from pathlib import Path

import pytest

from decoder_cases import with_decoders
from samples import noise_image

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index in range(3):
        noise_image(20, 24, index).resize((80, 96)).save(folder / f"photo{index}.png")
    return folder


@pytest.fixture(scope="module")
def decoders_folder(tokenizer_folder, tmp_path_factory):
    """The small tokenizer with two decoders whose noise shows."""
    return with_decoders(tokenizer_folder, tmp_path_factory.mktemp("decoders"))
