"""A tokenizer whose networks compute in half precision."""

import re

import pytest
import torch
from torch import nn

import vistok
from vistok import Tokenizer

HALF = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALF)
def test_networks_are_cast_and_the_quantizer_is_not(tokenizer_folder, dtype):
    tokenizer = vistok.load(tokenizer_folder, device="cpu", dtype=dtype)
    types = {name: parameter.dtype for name, parameter in tokenizer.model.named_parameters()}
    assert {types[name] for name in types if name.startswith("quantizer.")} == {torch.float32}
    assert {types[name] for name in types if not name.startswith("quantizer.")} == {dtype}


@pytest.mark.parametrize("dtype", HALF)
def test_it_encodes_and_decodes_nearly_as_in_float32(dtype):
    exact, half = (
        vistok.load("photo-f8", device="cpu"),
        Tokenizer.from_pretrained("photo-f8", device="cpu", dtype=dtype),
    )
    assert half.encode(torch.zeros(3, 64, 64, dtype=torch.uint8)).shape == (1, 1, 8, 8)
    images = nn.functional.interpolate(torch.rand(2, 3, 8, 8), (64, 64), mode="bicubic").clamp(0, 1)
    tokens, others = exact.encode(images), half.encode(images)
    assert others.dtype == torch.int64 and 0.8 < float((tokens == others).float().mean())
    decoded, other = exact.decode(tokens, output="tensor"), half.decode(tokens, output="tensor")
    assert other.dtype == torch.float32 and float((decoded - other).abs().max()) < 0.02
    assert len(half.decode(tokens)) == 2
    # The last layer computes in float32: in bfloat16 pixels would have fewer than 1,000 values.
    assert len(other.unique()) > 2000


def test_its_fingerprint_is_another_and_it_is_not_saved(tokenizer_folder, tmp_path):
    exact, half = (
        vistok.load(tokenizer_folder, device="cpu", dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    assert exact.fingerprint == vistok.load(tokenizer_folder, device="cpu").fingerprint != half.fingerprint
    with pytest.raises(
        ValueError, match=r"^The weights are rounded to torch.bfloat16: load the tokenizer in float32 to save it\.$"
    ):
        half.save_pretrained(tmp_path / "half")
    exact.model.cast_networks(torch.bfloat16)
    exact.model.cast_networks(torch.float32)  # the rounded weights, computed with in float32
    assert exact.fingerprint != half.fingerprint


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, "bfloat16", None])
def test_other_types_are_refused(tokenizer_folder, dtype):
    sentence = f"dtype is {dtype}, but must be torch.float32 or torch.bfloat16 or torch.float16."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        vistok.load(tokenizer_folder, device="cpu", dtype=dtype)
