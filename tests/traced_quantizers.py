"""A program that compiles searches, an encoder and quantizers without graph breaks, and prints what did not work.

The tests' checks of shapes are not traceable, so this runs in a process without them, with warnings as errors.
"""

import warnings

import torch

from quantizer_table import EVERY, latent_for, name_of
from samples import ARCHITECTURE
from vistok.tokenizer.model import build_tokenizer
from vistok.tokenizer.numerics import float32
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.search.nearest import nearest_codes
from vistok.tokenizer.quantizers.vector.quantizer import VQConfig


def compiled(function):
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, backend="eager")


def check_searches():
    vectors, codes, excluded = torch.randn(60, 5), torch.randn(90, 5), torch.rand(90) < 0.5
    for options in ({}, {"similarity": "dot"}, {"exact": False, "excluded": excluded}):
        search = lambda z, c, options=options: nearest_codes(z, c, **options)  # noqa: E731
        traced = compiled(search)
        for count in (60, 37):
            assert torch.equal(traced(vectors[:count], codes), search(vectors[:count], codes)), options


def check_gradients_under_autocast():
    vectors, codes = torch.randn(60, 5, requires_grad=True), torch.randn(900, 5, requires_grad=True)
    function = lambda z, c: c[nearest_codes(z, c)].sum()  # noqa: E731
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = compiled(function)(vectors, codes)
    found.backward()
    assert torch.equal(found, function(vectors, codes)) and codes.grad.sum() == 300 and vectors.grad is None


def check_encoder():
    model = build_tokenizer(ARCHITECTURE, VQConfig(dim=4, codebook_size=32)).eval()
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(compiled(model.encode)(pixels), model.encode(pixels))


def check_quantizers():
    """Check one of each kind, the last of the table."""
    for values in {values["name"]: values for values in EVERY}.values():
        quantizer = build_quantizer(values).eval()
        latent = latent_for(quantizer)
        tokens = lambda z, quantizer=quantizer: quantizer(z).tokens  # noqa: E731
        assert torch.equal(compiled(tokens)(latent), tokens(latent)), name_of(values)


if __name__ == "__main__":
    warnings.simplefilter("error")
    torch.manual_seed(0)
    float32._SETTINGS.held = None  # nothing may set what the process has set
    check_searches()
    check_gradients_under_autocast()
    with torch.no_grad():
        check_encoder()
        check_quantizers()
    print("all traced")
