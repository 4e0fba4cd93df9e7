import pytest
import torch

import vistok
from vistok.inference.arithmetic import agreement
from vistok.inference.fast import FastEncoder, fast_precision


@pytest.fixture
def tokenizer(tokenizer_folder):
    return vistok.load(tokenizer_folder)


def test_batches_never_change_a_token(tokenizer):
    pixels = torch.rand(7, 3, 64, 64) * 2 - 1
    singles = torch.cat([tokenizer.encode_pixels(pixel) for pixel in pixels.split(1)])
    for size in (2, 3, 7):
        assert torch.equal(torch.cat([tokenizer.encode_pixels(part) for part in pixels.split(size)]), singles)


@pytest.mark.parametrize("size", [1, 3, 8, 11])
def test_fast_pads_its_batches_and_agrees_nearly_everywhere(tokenizer, size):
    pixels = torch.rand(size, 3, 64, 64) * 2 - 1
    cpu = torch.device("cpu")
    fast = FastEncoder(tokenizer.model, cpu, fast_precision(cpu, compiled=False))
    exact = tokenizer.encode_pixels
    assert fast(pixels).shape == exact(pixels).shape
    assert agreement(exact, fast, list(pixels.split(1))) > 0.9
    assert agreement(exact, exact, list(pixels.split(1))) == 1.0


def test_each_way_to_be_fast_has_a_name_of_its_own(monkeypatch):
    names = set()
    for native in (True, False):
        monkeypatch.setattr("vistok.inference.fast.multiplies_bfloat16", lambda device, native=native: native)
        cpu = torch.device("cpu")
        names |= {fast_precision(cpu, compiled, size) for compiled in (True, False) for size in (None, 3)}
    forms = ("bfloat16-compiled", "bfloat16-eager", "float32-compiled", "float32-eager")
    assert names == {f"{form}-{size}" for form in forms for size in (3, 8)}
