"""The contract that every quantizer of the table keeps, and what is special about each."""

import copy

import pytest
import torch

from vistok.tokenizer.quantizers import GRADIENTS, QUANTIZERS, build_quantizer

SIZE = {"dim": 6, "codebook_size": 48}
TABLES = [
    {"name": name, **SIZE, "similarity": similarity}
    for name in ("vq", "ema", "simvq")
    for similarity in ("euclidean", "cosine")
]
TABLES += [{"name": "vq", **SIZE, "gradient": gradient} for gradient in GRADIENTS]
TABLES += [
    {"name": "simvq", **SIZE, "projection": "diagonal", "bias": False},
    {"name": "simvq", **SIZE, "projection": "mlp", "trained_basis": True},
    {"name": "fvq", **SIZE, "patch": 8, "width": 16},
    {"name": "vq", **SIZE, "distribution": "wasserstein"},
    {"name": "vq", **SIZE, "distribution": "mmd", "region": True},
    {"name": "vq", **SIZE, "soft": {"k": 2, "form": "sigmoid", "temperature": 0.5}},
]
DOT = [{"name": "ibq", **SIZE}, {"name": "vq", **SIZE, "similarity": "dot"}]
SCALAR = [{"name": "fsq", "levels": levels} for levels in ([2], [3, 4, 5], [8, 8, 8, 5, 5, 5], [16] * 4)]
SCALAR += [{"name": "fsq", "levels": [8, 5, 5], "bound": "outer"}]
SCALAR += [{"name": "fsp", "levels": [8, 5, 5], "squash": squash} for squash in ("normal", "logistic")]
BINARY = [{"name": "lfq", "dim": 12}, {"name": "bsq", "dim": 12}]
COMPOSED = [
    {"name": "residual", "quantizer": {"name": "vq", **SIZE}, "depth": 3},
    {"name": "residual", "quantizer": {"name": "ema", **SIZE}, "depth": 3, "shared": True, "gradient": "rotation"},
    {"name": "residual", "quantizer": {"name": "fsq", "levels": [5, 5]}, "depth": 2},
    {"name": "residual", "quantizer": {"name": "simvq", **SIZE}, "depth": 4, "dropout": 1.0},
    {"name": "grouped", "quantizer": {"name": "simvq", **SIZE, "gradient": "rotation"}, "groups": 2},
    {"name": "grouped", "quantizer": {"name": "lfq", "dim": 4}, "groups": 3, "shared": True},
    {
        "name": "grouped",
        "quantizer": {"name": "residual", "quantizer": {"name": "vq", **SIZE}, "depth": 2},
        "groups": 2,
    },
    {"name": "multiscale", "quantizer": {"name": "vq", **SIZE}, "scales": [1, 2, 4]},
    {"name": "multiscale", "quantizer": {"name": "simvq", **SIZE, "similarity": "cosine"}, "scales": [1, 3, 4]},
]
EVERY = TABLES + DOT + SCALAR + BINARY + COMPOSED


def name_of(values):
    return "-".join(name_of(value) if isinstance(value, dict) else str(value) for value in values.values())


@pytest.fixture(params=EVERY, ids=name_of)
def quantizer(request):
    torch.manual_seed(0)
    return build_quantizer(request.param)


def latent_for(quantizer, seed=1, batch=3):
    return torch.randn(batch, quantizer.dim, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2


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
    assert all(loss.shape == () and loss.dtype == torch.float32 for loss in result.losses.values())
    assert quantizer.eval()(latent_for(quantizer)).losses == {}


def test_parts_are_the_codebooks_in_the_order_of_the_tokens(quantizer):
    quantizer.eval()
    latent = latent_for(quantizer)
    tokens = torch.cat([part.quantizer(part.latent).tokens for part in quantizer.parts(latent)], dim=1)
    assert torch.equal(tokens, quantizer(latent).tokens)


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


@pytest.mark.parametrize("values", TABLES + BINARY, ids=name_of)  # others bound or scale what they get
def test_codes_are_fixed_points(values):
    quantizer = build_quantizer(values).eval()
    tokens = torch.arange(min(quantizer.vocab_size, 4096)).reshape(1, 1, 1, -1)
    assert torch.equal(quantizer(quantizer.lookup(tokens)).tokens, tokens)


def test_gradient_reaches_the_latent(quantizer):
    latent = latent_for(quantizer).requires_grad_()
    quantizer(latent).latent.square().sum().backward()
    assert latent.grad is not None and latent.grad.isfinite().all() and latent.grad.abs().sum() > 0


def test_autocast_changes_nothing(quantizer):
    quantizer.eval()
    latent = latent_for(quantizer)
    plain = quantizer(latent)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = quantizer(latent)
    assert torch.equal(plain.tokens, cast.tokens) and torch.equal(plain.latent, cast.latent)


def test_state_survives_saving(quantizer):
    quantizer.train()
    quantizer(latent_for(quantizer))  # moving averages move
    twin = build_quantizer(quantizer.config.model_dump())
    twin.load_state_dict(copy.deepcopy(quantizer.state_dict()))
    latent = latent_for(quantizer, seed=5)
    assert torch.equal(quantizer.eval()(latent).tokens, twin.eval()(latent).tokens)


def test_folded_gives_the_same_tokens_and_codes(quantizer):
    quantizer.eval()
    config, folded = quantizer.folded()
    latent = latent_for(quantizer, seed=7)
    before, after = quantizer(latent), folded(latent)
    assert torch.equal(before.tokens, after.tokens) and torch.equal(before.latent, after.latent)
    assert torch.equal(folded.lookup(before.tokens), before.latent)
    rebuilt = build_quantizer(config.model_dump())
    rebuilt.load_state_dict(folded.state_dict())
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
        ({"dim": 2}, r"quantizer.name None is not a known quantizer: choose from bsq, ema, fsp, fsq"),
        ({"name": "vq", "dim": 2}, r"quantizer.codebook_size is missing: set it to a number of codes"),
        (
            {"name": "vq", "dim": 2, "codebok_size": 4},
            r"quantizer\.(codebook_size is missing|codebok_size is not a known key)",
        ),
        (
            {"name": "vq", "dim": 0, "codebook_size": 4},
            r"quantizer.dim is 0, but must be: input should be greater",
        ),
        ({"name": "vq", "dim": 2, "codebook_size": 4, "gradient": "ste"}, r"quantizer.gradient is 'ste', but must be"),
        (
            {"name": "vq", "dim": 1, "codebook_size": 4, "gradient": "rotation"},
            r"dim is 1, where a rotation can only turn",
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
            r"quantizer.quantizer.name 'grouped' is not a known quantizer",
        ),
        (
            {"name": "multiscale", "scales": [2, 1], "quantizer": {"name": "vq", **SIZE}},
            r"scales are \[2, 1\], but must rise",
        ),
        (
            {"name": "multiscale", "quantizer": {"name": "vq", **SIZE, "gradient": "rotation"}},
            r"the scales have gradient 'rotation', but the multi-scale quantizer copies",
        ),
        ({"name": "fsq", "levels": [1]}, r"quantizer.levels.0 is 1, but must be"),
        ({"name": "fsq", "levels": [2**16] * 4}, r"levels make \d+ codes, but a token is an int64"),
    ],
)
def test_wrong_config_is_one_sentence(values, message):
    with pytest.raises(ValueError, match=message):
        build_quantizer(values)
