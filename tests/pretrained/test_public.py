"""The table of public tokenizers."""

import re

import pytest

import vistok
from vistok.pretrained.find import built_in_names
from vistok.pretrained.importers.table import IMPORTERS
from vistok.pretrained.public import PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_an_entry_is_complete(name):
    entry = PUBLIC[name]
    assert re.fullmatch(r"[a-z0-9.-]+", name) and name not in built_in_names()
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.repository) and entry.files and entry.licence and entry.codes > 1
    assert entry.family in IMPORTERS
    assert entry.downsample or entry.tokens
    assert set(entry.published) <= {"rfid", "psnr", "ssim", "lpips"} and entry.published.get("ssim", 1) <= 1
    assert bool(entry.published) == entry.published_in.startswith("https://")
    assert not any(name.endswith(".index.json") for name in entry.files) or entry.prefix


def test_models_are_listed_with_what_is_known():
    listed = {model.name: model for model in vistok.list_models()}
    assert list(listed) == [*built_in_names(), *PUBLIC]
    assert listed["photo-f8"] == ("photo-f8", "vistok", "MIT", 8, 1, 64800, 8.7, "")
    assert listed["emu3.5"] == ("emu3.5", "emu3.5", "Apache-2.0", 16, 1, 131072, 455.3, "BAAI/Emu3.5-VisionTokenizer")
    assert listed["unitok"].codebooks == 8 and listed["titok-l32"].downsample is None
