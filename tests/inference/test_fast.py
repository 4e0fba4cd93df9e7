"""The fast encoder, in the form that it has on a GPU, calculated on a CPU."""

from pathlib import Path

import pytest
import torch

from processes import PARENT, environment, run_python
from samples import small_tokenizer
from vistok.images.preprocessing import to_pixels
from vistok.inference import fast
from vistok.inference.fast import FastEncoder, encoder_alone
from vistok.tokenizer.networks.base import NoDecoder
from vistok.tokenizer.numerics.layout import memory_format, way_of

TESTS = Path(__file__).parents[1]
CPU = torch.device("cpu")
IMAGES = torch.randint(256, (9, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(fast, "_cpu_network", fast._device_network)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bytes_and_pixels_give_the_same_tokens(as_on_a_gpu, dtype):
    model = small_tokenizer().eval()
    encode = FastEncoder(model, CPU, f"{dtype}-eager-4")
    tokens = encode(IMAGES)
    assert torch.equal(encode(to_pixels(IMAGES)), tokens)
    with torch.no_grad():
        exact = model.encode(to_pixels(IMAGES))
    assert (tokens == exact).float().mean() > (0.999 if dtype == "float32" else 0.9)


def test_the_encoder_has_weights_of_its_own():
    model = small_tokenizer().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = encoder_alone(model, torch.bfloat16, torch.contiguous_format)
    assert isinstance(own.decoder, NoDecoder) and own.quantizer is model.quantizer and not own.training
    assert {value.dtype for value in own.encoder.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in own.quantizer.parameters()} == {torch.float32}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


PROGRAM = """
import numpy as np
import torch
from einops import rearrange
from samples import small_tokenizer
from vistok.inference import fast
fast._cpu_network = fast._device_network
compile = torch.compile
torch.compile = lambda network, mode: compile(network, backend="eager", fullgraph=True)
images = torch.randint(256, (9, 32, 32, 3), dtype=torch.uint8)
model = small_tokenizer({"name": "fsq", "levels": [8, 5, 5]}).eval()
compiled, eager = (fast.FastEncoder(model, torch.device("cpu"), f"float32-{form}-4") for form in ("compiled", "eager"))
assert torch.equal(compiled(images), eager(images))
with torch.compiler.set_stance("fail_on_recompile"):
    rearrange(np.zeros((2, 3)), "a b -> b a")  # as a writer of shards does
    for few in images[:3], images[1:4], images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1):
        assert torch.equal(compiled(few), eager(few))
"""


def test_the_compiler_sees_one_program_and_compiles_it_once():
    """In a process without the tests' checks of shapes, which the compiler cannot trace."""
    done = run_python("-W", "error", "-c", PROGRAM, env=environment(PYTHONPATH=f"{PARENT}:{TESTS}"))
    assert not done.returncode, done.stderr


def test_one_place_decides_the_layout():
    gpu = torch.device("cuda")
    assert memory_format(CPU) == memory_format(CPU, "compiled") == torch.channels_last
    assert {memory_format(gpu, way) for way in ("float32", "half", "compiled")} <= {
        torch.channels_last,
        torch.contiguous_format,
    }
    assert (way_of(torch.float32), way_of(torch.bfloat16)) == ("float32", "half")
