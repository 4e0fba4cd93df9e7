"""Every quantizer of the table is exported, with any batch and grid: as tokens of a latent, and as codes of tokens."""

import warnings

import pytest
import torch
from torch import nn
from torch.export import Dim

from quantizer_table import EVERY
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.quantizers import QUANTIZERS
from vistok.tokenizer.quantizers.search import exported
from vistok.tokenizer.quantizers.search.nearest import nearest_codes

SLOW = "leech"
"""Thousands of operations, which take minutes to translate."""
PARTS = 4


def inference_forms(kinds_alone=False):
    """Return each quantizer of the table once in the form that is exported, or one of each name and name inside."""
    forms = {}
    for values in EVERY:
        if SLOW not in str(values):
            config, quantizer = parse_choice(QUANTIZERS, values, "quantizer").build().for_inference()
            kind = config.name, config.quantizer.name if hasattr(config, "quantizer") else ""
            forms.setdefault(kind if kinds_alone else config.model_dump_json(), quantizer)
    return list(forms.values())


class Both(nn.Module):
    """Tokens of a latent and codes of tokens, in one program."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, latent, tokens):
        return self.quantizer.quantize(latent)[0].tokens, self.quantizer.codes_of(tokens)


@torch.no_grad()
def example(quantizer, seed, batch, grid):
    grid = (4, 4) if quantizer.needs_grid else grid
    latent = torch.randn(batch, quantizer.dim, *grid, generator=torch.Generator().manual_seed(seed)) * 2
    return latent, quantizer(latent).tokens


def recorded(quantizer):
    sizes = {0: Dim("b", min=1)} | ({} if quantizer.needs_grid else {2: Dim("y", min=2), 3: Dim("x", min=2)})
    with torch.no_grad():
        return torch.export.export(
            Both(quantizer).eval(), example(quantizer, 0, 2, (4, 5)), dynamic_shapes=(sizes, sizes), strict=False
        )


def check(quantizer, run):
    """Compare a program with the quantizer, for batches and grids that it was not recorded with."""
    for batch, grid in ((1, (3, 2)), (3, (2, 6))):
        latent, expected = example(quantizer, 1, batch, grid)
        tokens, codes = run(latent, expected)
        assert torch.equal(tokens, expected), quantizer.config
        torch.testing.assert_close(codes, quantizer.codes_of(expected))


@pytest.mark.parametrize("part", range(PARTS))
def test_an_archive_of_each_quantizer_gives_its_tokens_and_codes(part):
    for quantizer in inference_forms()[part::PARTS]:
        check(quantizer, recorded(quantizer).module())


@pytest.mark.parametrize("part", range(PARTS))
def test_onnxruntime_gives_the_tokens_and_codes_of_each_kind(part, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    for quantizer in inference_forms(kinds_alone=True)[part::PARTS]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                recorded(quantizer), dynamo=True, verbose=False, input_names=["latent", "tokens"]
            )
        program.save(tmp_path / "both.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "both.onnx")

        def run(latent, tokens, session=session):
            results = session.run(None, {"latent": latent.numpy(), "tokens": tokens.numpy()})
            return [torch.from_numpy(value) for value in results]

        check(quantizer, run)


def test_every_kind_is_tried():
    names = [quantizer.config.name for quantizer in inference_forms(kinds_alone=True)]
    assert names.count("residual") >= 5 and names.count("grouped") >= 3
    assert {"vq", "fsq", "fsp", "lfq", "bsq", "multiscale"} <= set(names)


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
def test_chunks_of_codes_find_what_all_at_once_find(monkeypatch, similarity):
    vectors, codes = torch.randn(50, 5), torch.randn(100, 5)
    codes[60] = codes[3]  # a tie across chunks goes to the lower index
    vectors[0] = codes[3] * 3
    offsets = codes.new_zeros(100) if similarity == "dot" else codes.square().sum(dim=1) / -2
    expected = nearest_codes(vectors, codes, similarity)
    for size in (7, 50, 100, 1000):
        monkeypatch.setattr(exported, "CODES", size)
        assert torch.equal(exported.nearest_by_product(vectors, codes, offsets), expected)


def test_no_program_holds_vectors_times_all_codes():
    quantizer = parse_choice(QUANTIZERS, {"name": "ibq", "dim": 4, "codebook_size": 131072}, "quantizer").build()
    quantizer = quantizer.for_inference()[1]
    with torch.no_grad():
        program = torch.export.export(Both(quantizer), example(quantizer, 0, 1, (5, 5)), strict=False)
    values = [node.meta["val"] for node in program.graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    assert max(value.numel() for value in values) == 131072 * 4  # the codes themselves
