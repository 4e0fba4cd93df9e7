"""The contract that every quantizer of the table keeps, and what is special about each."""

import copy
import re

import pytest
import torch

from quantizer_table import BINARY, EVERY, LEECH, SIZE, TABLES, latent_for, name_of
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.quantizers import QUANTIZERS, build_quantizer


@pytest.fixture(params=EVERY, ids=name_of)
def quantizer(request):
    torch.manual_seed(0)
    return build_quantizer(request.param)


def test_every_entry_of_the_table_is_under_the_contract():
    assert {values["name"] for values in EVERY} == set(QUANTIZERS)


@pytest.mark.parametrize("training", [True, False])
def test_lookup_is_the_exact_inverse(quantizer, training):
    quantizer.train(training)
    dropped = getattr(quantizer.config, "dropout", 0) and training  # then the latent is the sum of fewer levels
    with torch.no_grad():
        result = quantizer(latent_for(quantizer))
        assert dropped or torch.equal(quantizer.lookup(result.tokens), result.latent)


def test_lookup_is_the_exact_inverse_with_gradients_too(quantizer):
    result = quantizer.eval()(latent_for(quantizer).requires_grad_())
    assert torch.equal(quantizer.lookup(result.tokens), result.latent)


def test_shapes_types_and_range(quantizer):
    result = quantizer(latent_for(quantizer))
    assert result.latent.shape == (3, quantizer.dim, 4, 4) and result.latent.dtype == torch.float32
    assert result.tokens.shape == (3, quantizer.num_codebooks, *quantizer.token_grid(4, 4))
    assert result.tokens.dtype == torch.int64
    assert 0 <= result.tokens.min() and result.tokens.max() < quantizer.vocab_size
    assert set(result.losses) == set(quantizer.loss_names)
    assert all(loss.shape == () and loss.dtype == torch.float32 for loss in result.losses.values())
    assert quantizer.eval()(latent_for(quantizer)).losses == {}


def test_codebooks_and_their_inputs_are_in_the_order_of_the_tokens(quantizer):
    quantizer.eval()
    latent = latent_for(quantizer)
    pairs = zip(quantizer.codebooks(), quantizer.codebook_inputs(latent), strict=True)
    tokens = torch.cat([codebook(seen).tokens for codebook, seen in pairs], dim=1)
    assert torch.equal(tokens, quantizer(latent).tokens)


def test_is_bounded_says_whether_each_channel_is_squashed_into_an_interval(quantizer):
    latent = latent_for(quantizer) * 1e4
    point, other = quantizer.to_code_space(latent), quantizer.to_code_space(latent.index_fill(1, torch.tensor(0), 7.0))
    is_by_channel = torch.equal(point[:, 1:], other[:, 1:])
    assert quantizer.is_bounded == bool(is_by_channel and point.abs().max() <= 1.01)


def test_every_trained_parameter_gets_a_gradient(quantizer):
    quantizer.train()
    result = quantizer(latent_for(quantizer).requires_grad_())
    (result.latent.square().sum() + sum(result.losses.values())).backward()
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_batch_equals_singles(quantizer):
    latent = latent_for(quantizer)
    quantizer.eval()
    whole = quantizer(latent).tokens
    assert torch.equal(whole, torch.cat([quantizer(part).tokens for part in latent.split(1)]))


@pytest.mark.parametrize("values", TABLES + BINARY + LEECH, ids=name_of)  # the others bound or scale what they get
def test_codes_are_fixed_points(values):
    quantizer = build_quantizer(values).eval()
    tokens = torch.arange(min(quantizer.vocab_size, 4096)).reshape(1, 1, 1, -1)
    assert torch.equal(quantizer(quantizer.lookup(tokens)).tokens, tokens)


@pytest.mark.parametrize("training", [True, False])
def test_gradient_reaches_the_latent(quantizer, training):
    latent = latent_for(quantizer).requires_grad_()
    quantizer.train(training)(latent).latent.square().sum().backward()
    assert latent.grad is not None and latent.grad.isfinite().all() and latent.grad.abs().sum() > 0


def same(found, expected):
    return found.dtype == expected.dtype and torch.equal(found, expected)


def test_autocast_changes_nothing(quantizer):
    quantizer.eval()
    latent = latent_for(quantizer)
    plain = quantizer(latent)
    looked_up, projected = quantizer.lookup(plain.tokens), quantizer.to_code_space(latent)
    seen = quantizer.codebook_inputs(latent)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = quantizer(latent)
        assert torch.equal(plain.tokens, cast.tokens) and torch.equal(plain.latent, cast.latent)
        assert same(quantizer.lookup(plain.tokens), looked_up) and same(quantizer.to_code_space(latent), projected)
        assert all(same(found, was) for found, was in zip(quantizer.codebook_inputs(latent), seen, strict=True))


def test_state_survives_saving(quantizer):
    quantizer.train()
    quantizer(latent_for(quantizer))  # moving averages move
    twin = build_quantizer(quantizer.config.model_dump())
    twin.load_state_dict(copy.deepcopy(quantizer.state_dict()))
    latent = latent_for(quantizer, seed=5)
    assert torch.equal(quantizer.eval()(latent).tokens, twin.eval()(latent).tokens)


def test_the_export_gives_the_same_tokens_and_codes(quantizer):
    quantizer.eval()
    config, exported = quantizer.for_inference()
    latent = latent_for(quantizer, seed=7)
    before, after = quantizer(latent), exported(latent)
    assert torch.equal(before.tokens, after.tokens) and torch.equal(before.latent, after.latent)
    assert torch.equal(exported.lookup(before.tokens), before.latent)
    rebuilt = build_quantizer(config.model_dump())
    rebuilt.load_state_dict(exported.state_dict())
    assert torch.equal(rebuilt.eval().lookup(before.tokens), before.latent)


def test_wrong_latent_is_refused(quantizer):
    with pytest.raises(ValueError, match=rf"takes b d y x with d = {quantizer.dim}"):
        quantizer(torch.zeros(1, quantizer.dim + 1, 2, 2))


def test_wrong_tokens_are_refused(quantizer):
    q, (y, x) = quantizer.num_codebooks, quantizer.token_grid(4, 4)
    with pytest.raises(ValueError, match=rf"takes b q y x with q = {q}"):
        quantizer.lookup(torch.zeros(1, q + 1, y, x, dtype=torch.int64))
    with pytest.raises(ValueError, match=rf"its codes are 0 to {quantizer.vocab_size - 1}"):
        quantizer.lookup(torch.full((1, q, y, x), quantizer.vocab_size))
    with pytest.raises(ValueError, match=r"its codes are 0 to"):
        quantizer.lookup(torch.full((1, q, y, x), -1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"name": "vqq", "dim": 2, "codebook_size": 4},
            r"quantizer.name 'vqq' is not a known quantizer: did you mean 'vq'",
        ),
        (
            {"name": "residual", "depth": 2, "quantizer": "vq"},
            r"^quantizer.quantizer is 'vq', but must be a section with a name, such as {name: vq, ...}",
        ),
        (
            {"name": "grouped", "groups": 2, "quantizer": "vq"},
            r"^quantizer.quantizer is 'vq', but must be a section with a name, such as {name: vq, ...}",
        ),
        (
            {"name": "multiscale", "quantizer": "vq"},
            r"^quantizer.quantizer is 'vq', but must be a section with a name, such as {name: vq, ...}",
        ),
        ({"name": ["vq"]}, r"quantizer.name \['vq'\] is not a known quantizer"),
        ({"dim": 2}, r"quantizer.name None is not a known quantizer: choose from bsq, ema, fsp, fsq"),
        ({"name": "vq", "dim": 2}, r"quantizer.codebook_size is missing: set it \(number of codes\)"),
        (
            {"name": "vq", "dim": 2, "codebok_size": 4},
            r"quantizer\.(codebook_size is missing|codebok_size is not a known key)",
        ),
        (
            {"name": "vq", "dim": 0, "codebook_size": 4},
            r"quantizer.dim is 0, but must be at least 1",
        ),
        ({"name": "vq", "dim": 2, "codebook_size": 4, "gradient": "ste"}, r"quantizer.gradient is 'ste', but must be"),
        (
            {"name": "vq", "dim": 1, "codebook_size": 4, "gradient": "rotation"},
            r"dim is 1, where a rotation can only flip the sign",
        ),
        ({"name": "vq", "dim": 2, "codebook_size": 4, "gradient": "soft"}, r"gradient is 'soft', but soft is not set"),
        (
            {"name": "ema", "dim": 2, "codebook_size": 4, "gradient": "diveq"},
            r"gradient: diveq moves codes by gradients",
        ),
        ({"name": "ema", "dim": 2, "codebook_size": 4, "region": True}, r"region moves codes by gradients"),
        ({"name": "fvq", "dim": 2, "codebook_size": 40}, r"codebook_size is 40, but must be a multiple of patch, 16"),
        ({"name": "lfq", "dim": 63}, r"quantizer.dim is 63, but must be"),
        (
            {"name": "residual", "depth": 2, "quantizer": {"name": "vq", "dim": 2, "codebok_size": 4}},
            r"quantizer.quantizer.codebo(ok_size is missing|k_size is not a known key)",
        ),
        (
            {"name": "residual", "depth": 2, "quantizer": {"name": "vq", **SIZE, "gradient": "rotation"}},
            r"the levels have gradient 'rotation', but a residual quantizer sets it once",
        ),
        (
            {"name": "residual", "depth": 2, "quantizer": {"name": "grouped"}},
            r"quantizer.quantizer: grouped cannot refine what other levels leave over: use vq, ",
        ),
        (
            {"name": "multiscale", "scales": [2, 1], "quantizer": {"name": "vq", **SIZE}},
            r"scales are \[2, 1\], but must rise",
        ),
        (
            {"name": "multiscale", "quantizer": {"name": "vq", **SIZE, "gradient": "rotation"}},
            r"the scales have gradient 'rotation', but the multi-scale quantizer copies",
        ),
        (
            {"name": "residual", "depth": 2, "gradient": "diveq", "quantizer": {"name": "vq", **SIZE}},
            r"gradient is 'diveq', which moves codes through the latent, but those of a residual quantizer are constants",
        ),
        (
            {"name": "residual", "depth": 2, "gradient": "soft", "quantizer": {"name": "vq", **SIZE}},
            r"gradient is 'soft', which moves codes .* use straight_through, rotation",
        ),
        (
            {"name": "residual", "depth": 2, "gradient": "rotation", "quantizer": {"name": "fsq", "levels": [5]}},
            r"dim is 1, where a rotation can only flip the sign",
        ),
        (
            {"name": "residual", "depth": 2, "quantizer": {"name": "vq", **SIZE, "similarity": "cosine"}},
            r"the levels have similarity 'cosine', which does not choose the code that leaves least over: use euclidean",
        ),
        (
            {"name": "residual", "depth": 2, "quantizer": {"name": "vq", **SIZE, "squash": "tanh"}},
            r"the levels have squash 'tanh', which would bend what is left over at every level: use none",
        ),
        *(
            ({"name": "multiscale", "quantizer": {"name": "vq", **SIZE, key: value}}, rf"the scales have {said}, which")
            for key, value, said in [
                ("distribution", "wasserstein", "distribution 'wasserstein'"),
                ("region", True, "region True"),
                ("entropy_temperature", 0.1, "entropy_temperature 0.1"),
                ("sinkhorn", {}, "sinkhorn .*"),
                ("commitment_by_length", True, "commitment_by_length True"),
                ("squash", "tanh", "squash 'tanh'"),
            ]
        ),
        (
            {"name": "vq", "dim": 2, "codebook_size": 4, "soft": {"k": 4}},
            r"soft.k is 4, but must be below codebook_size, 4",
        ),
        (
            {"name": "vq", "dim": 2, "codebook_size": 4, "gradient": "nsvq", "soft": {}},
            r"gradient is 'nsvq', which moves the chosen code as soft does",
        ),
        (
            {"name": "vq", "dim": 2, "codebook_size": 4, "sinkhorn": {"epsilon": 0}},
            r"quantizer.sinkhorn.epsilon is 0, but must be above 0",
        ),
        (
            {"name": "residual", "depth": 2, "quantizer": {"name": "ibq", **SIZE}},
            r"quantizer.quantizer: ibq cannot refine what other levels leave over: use vq, ema, simvq, fvq, fsq, ",
        ),
        (
            {"name": "residual", "depth": 2, "quantizer": {"name": "leech"}},
            r"quantizer.quantizer: leech cannot refine what other levels leave over: use vq, .*, bsq\.$",
        ),
        ({"name": "leech", "gradient": "diveq"}, r"quantizer.gradient is 'diveq', but must be"),
        ({"name": "leech", "dim": 24}, r"quantizer.dim is not a known key"),
        ({"name": "lfq", "dim": 20, "entropy_bits": 13}, r"quantizer.entropy_bits is 13, but must be"),
        ({"name": "fsq", "levels": [1]}, r"quantizer.levels.0 is 1, but must be"),
        ({"name": "fsq", "levels": [2**16] * 4}, r"levels make \d+ codes, but a token is an int64"),
    ],
)
def test_wrong_config_is_one_sentence(values, message):
    with pytest.raises(ValueError, match=message):
        build_quantizer(values)


@pytest.mark.parametrize("values", ["vq", None, ["vq"]])
def test_what_is_no_section_is_refused(values):
    got = "empty" if values is None else repr(values)
    message = f"quantizer is {got}, but must be a section with a name, such as {{name: vq, ...}}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_choice(QUANTIZERS, values, "quantizer")
