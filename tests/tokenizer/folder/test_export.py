"""torch.export takes encode and decode of every quantizer; outside of it tokens are checked."""

import pytest
import torch

from quantizer_table import BINARY, COMPOSED, DOT, LEECH, SCALAR, TABLES, name_of
from samples import small_tokenizer

SOME = [*TABLES[::7], *DOT, *SCALAR[::2], *BINARY, *LEECH[:1], *COMPOSED[::3]]


class Encode(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model.encode(pixels)


class Decode(Encode):
    def forward(self, tokens):
        return self.model.decode(tokens)


@pytest.mark.parametrize("values", SOME, ids=name_of)
def test_decode_is_exported_and_gives_the_same_images(values):
    model = small_tokenizer(values).eval()
    with torch.no_grad():
        tokens = model.encode(torch.rand(1, 3, 32, 32) * 2 - 1)
        program = torch.export.export(Decode(model), (tokens,)).module()
        assert torch.allclose(program(tokens), model.decode(tokens), atol=1e-5)


@pytest.mark.parametrize("values", [{"name": "fsq", "levels": [8, 5, 5]}, *LEECH[:1]], ids=name_of)
def test_encode_is_exported(values):
    model = small_tokenizer(values).eval()
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(torch.export.export(Encode(model), (pixels,)).module()(pixels), model.encode(pixels))


def test_tokens_out_of_range_are_refused_outside_of_it():
    model = small_tokenizer().eval()
    for wrong in (-1, 300):
        with pytest.raises(ValueError, match=r"The quantizer got tokens from .* but its codes are 0 to 299"):
            model.decode(torch.full((1, 1, 4, 4), wrong))
