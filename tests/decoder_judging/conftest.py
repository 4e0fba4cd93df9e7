"""The scripts that compare decoders, photos, and a tokenizer with two extra decoders."""

from pathlib import Path

import pytest
import torch

import vistok
from decoder_cases import SMALL, draw
from samples import ARCHITECTURE, noise_image
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.decoders.table import DECODERS

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
    tokenizer = vistok.load(tokenizer_folder, device="cpu")
    for name, kind in (("gan", "noise_channels"), ("flow", "residual_unet")):
        torch.manual_seed(1)
        extra = parse_choice(DECODERS, SMALL[kind], "decoder").build(ARCHITECTURE, tokenizer.model.quantizer.dim)
        extra.start_from(tokenizer.model.plain)
        draw(extra)
        tokenizer.model.decoders[name] = extra.eval().requires_grad_(False)
    folder = tmp_path_factory.mktemp("decoders")
    tokenizer.save_pretrained(folder)
    return folder
