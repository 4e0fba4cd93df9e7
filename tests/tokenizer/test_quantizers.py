"""The contract that every quantizer of the table keeps, and what is special about each."""

import copy

import pytest
import torch

from vistok.tokenizer.quantizers import GRADIENTS, QUANTIZERS, build_quantizer

VECTOR = [
    {"name": name, "dim": 6, "codebook_size": 40, "similarity": similarity, "gradient": gradient}
    for name in ("vq", "ema", "simvq")
    for similarity in ("euclidean", "cosine")
    for gradient in GRADIENTS
]
SCALAR = [{"name": "fsq", "levels": levels} for levels in ([2], [3, 4, 5], [8, 8, 8, 5, 5, 5], [16] * 4)]
EVERY = VECTOR + SCALAR


def name_of(values):
    return "-".join(str(value) for value in values.values())


@pytest.fixture(params=EVERY, ids=name_of)
def quantizer(request):
    torch.manual_seed(0)
    return build_quantizer(request.param)


def latent_for(quantizer, seed=1, batch=3):
    return torch.randn(batch, quantizer.dim, 4, 5, generator=torch.Generator().manual_seed(seed)) * 2


def test_every_entry_of_the_table_is_under_the_contract():
    assert {values["name"] for values in EVERY} == set(QUANTIZERS)


@pytest.mark.parametrize("training", [True, False])
def test_lookup_is_the_exact_inverse(quantizer, training):
    quantizer.train(training)
    latent = latent_for(quantizer)
    with torch.no_grad():
        result = quantizer(latent)
        assert torch.equal(quantizer.lookup(result.tokens), result.latent)


def test_shapes_types_and_range(quantizer):
    result = quantizer(latent_for(quantizer))
    assert result.latent.shape == (3, quantizer.dim, 4, 5) and result.latent.dtype == torch.float32
    assert result.tokens.shape == (3, quantizer.num_codebooks, 4, 5) and result.tokens.dtype == torch.int64
    assert 0 <= result.tokens.min() and result.tokens.max() < quantizer.vocab_size
    assert all(loss.shape == () and loss.dtype == torch.float32 for loss in result.losses.values())


def test_batch_equals_singles(quantizer):
    latent = latent_for(quantizer)
    quantizer.eval()
    whole = quantizer(latent).tokens
    assert torch.equal(whole, torch.cat([quantizer(part).tokens for part in latent.split(1)]))


@pytest.mark.parametrize("values", VECTOR, ids=name_of)  # FSQ bounds its input: a code is not its own latent there
def test_codes_are_fixed_points(values):
    quantizer = build_quantizer(values).eval()
    tokens = torch.arange(quantizer.vocab_size).reshape(1, 1, 1, -1)
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
    with pytest.raises(ValueError, match=r"takes b q y x with q = 1"):
        quantizer.lookup(torch.zeros(1, 2, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=rf"its codes are 0 to {quantizer.vocab_size - 1}"):
        quantizer.lookup(torch.full((1, 1, 2, 2), quantizer.vocab_size))
    with pytest.raises(ValueError, match=r"its codes are 0 to"):
        quantizer.lookup(torch.full((1, 1, 2, 2), -1))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"name": "vqq", "dim": 2, "codebook_size": 4},
            r"quantizer.name 'vqq' is not a known quantizer: did you mean 'vq'",
        ),
        ({"dim": 2}, r"quantizer.name None is not a known quantizer: choose from ema, fsq, simvq, vq"),
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
        ({"name": "fsq", "levels": [1]}, r"quantizer.levels.0 is 1, but must be"),
        ({"name": "fsq", "levels": [2**16] * 4}, r"levels make \d+ codes, but a token is an int64"),
    ],
)
def test_wrong_config_is_one_sentence(values, message):
    with pytest.raises(ValueError, match=message):
        build_quantizer(values)
