import pytest
import torch

import vistok
from vistok.inference import api, arithmetic
from vistok.inference.arithmetic import agreement, images_at_once
from vistok.inference.fast import FastEncoder, fast_precision
from vistok.tokenizer.numerics.exact import exact_batch


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


@pytest.mark.parametrize(
    ("device", "batch_size", "side", "expected"),
    [
        ("cpu", None, 256, 64),
        ("cpu", 1000, 256, 64),  # a CPU takes images one by one
        ("cpu", None, 1024, 16),
        ("cpu", None, 8192, 1),
        ("cuda", None, 256, 64),  # four batches of 16
        ("cuda", 48, 256, 48),
        ("cuda", 128, 256, 128),  # 64 would be padded to 128
        ("cuda", None, 768, 28),
        ("cuda", 3, 1024, 15),
        ("cuda", None, 8192, 1),
    ],
)
def test_images_at_once_fill_whole_batches(device, batch_size, side, expected):
    count = images_at_once(torch.device(device), batch_size, side, side)
    assert count == expected
    assert device == "cpu" or count % exact_batch(batch_size, side, side) == 0


def test_large_images_are_decoded_and_encoded_few_at_a_time(tokenizer, monkeypatch):
    images = torch.rand(5, 3, 64, 64)
    tokens = tokenizer.encode(images)
    expected = tokenizer.decode(tokens, output="tensor")
    monkeypatch.setattr(arithmetic, "MAX_PIXELS", 2 * 64 * 64)
    counts = []
    for name in ("start_decoding", "start_images", "start_exactly"):
        begin = getattr(api, name)

        def counted(model, device, batch_size, values, *how, begin=begin):
            counts.append(len(values))
            return begin(model, device, batch_size, values, *how)

        monkeypatch.setattr(api, name, counted)
    assert torch.equal(tokenizer.decode(tokens, output="tensor"), expected) and len(tokenizer.decode(tokens)) == 5
    assert torch.equal(tokenizer.encode(images), tokens)
    assert counts == 3 * [2, 2, 1]
