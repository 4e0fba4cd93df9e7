"""What every kind of extra decoder promises, over the table, the architectures and the grids."""

import copy
import pickle

import pytest
import torch
from torch import nn

from decoder_cases import CASES, SMALL, some_codes, tokenizer_of
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.decoders.table import DECODERS
from vistok.tokenizer.model import VisualTokenizer


def noise_for(model: VisualTokenizer, base: torch.Tensor) -> torch.Tensor:
    return torch.randn(len(base), *model.extra_decoder("generative").noise_shape(*base.shape[2:]))


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("case", CASES)
def test_a_fresh_decoder_answers_as_the_plain_one(case, kind):
    model = tokenizer_of(case)
    extra = parse_choice(DECODERS, SMALL[kind], "decoder").build(model.architecture, model.quantizer.dim).eval()
    extra.start_from(model.plain)
    codes = some_codes(model, (2, 3), count=2)
    plain = model.decode_latent(codes)
    noise = torch.randn(2, *extra.noise_shape(*plain.shape[2:]))
    torch.testing.assert_close(extra(codes, plain, noise), plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("grid", [(1, 3), (5, 7)], ids=str)
def test_an_answer_depends_on_the_noise_and_has_the_plain_shape(case, kind, grid):
    model = tokenizer_of(case, kind, steps=2 if kind == "residual_unet" else 1)
    codes = some_codes(model, grid)
    plain = model.decode_latent(codes)
    first, again, other = (model.decode_latent(codes, "generative", seed) for seed in (3, 3, 4))
    assert first.shape == plain.shape and first.dtype == torch.float32 and first.isfinite().all()
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, plain)


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("case", ["convolutional", "codebooks", "latent_tokens"])
def test_the_codes_and_the_plain_answer_matter(case, kind):
    model = tokenizer_of(case, kind)
    extra = model.extra_decoder("generative")
    codes, others = some_codes(model), some_codes(model)
    base, noise = model.decode_latent(codes), noise_for(model, model.decode_latent(codes))
    sees_codes = kind == "noise_channels" or model.architecture.latent_is_grid
    assert torch.equal(extra(codes, base, noise), extra(others, base, noise)) != sees_codes
    assert torch.equal(extra(codes, base, noise), extra(codes, base + 0.1, noise)) == (kind == "noise_channels")


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_near_and_answers_in_float32(kind, dtype):
    model = tokenizer_of("convolutional", kind)
    codes = some_codes(model, (3, 3))
    exact = model.decode_latent(codes, "generative")
    model.cast_networks(dtype)
    rounded = model.decode_latent(codes, "generative")
    assert model.extra_decoder("generative").dtype == dtype and rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.05


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("case", CASES)
def test_training_knows_its_parameters(case, kind):
    model = tokenizer_of(case, kind)
    extra = model.extra_decoder("generative").requires_grad_()
    named = dict(extra.named_parameters())
    hidden = extra.hidden_matrices()
    assert len(hidden) == len(set(hidden)) and hidden
    assert all(named[name].ndim > 1 for name in hidden)
    assert any(value is extra.last_layer for value in named.values())
    assert not any(named[name] is extra.last_layer for name in hidden)
    assert {f"decoders.generative.{name}" for name in hidden} <= model.hidden_matrices()
    codes = some_codes(model)
    base = model.decode_latent(codes)
    extra(codes, base, noise_for(model, base)).square().mean().backward()
    assert all(value.grad is not None and value.grad.any() for value in named.values())


@pytest.mark.parametrize("kind", SMALL)
def test_it_is_copied_pickled_and_compared_with_its_weights(kind):
    model = tokenizer_of("codebooks", kind)
    codes = some_codes(model)
    expected = model.decode_latent(codes, "generative", 7)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.extra_decoder("generative").scale == 0.25
        assert torch.equal(other.decode_latent(codes, "generative", 7), expected)


def test_a_name_that_there_is_not_is_told_with_those_that_there_are():
    model = tokenizer_of("convolutional", "residual_unet")
    model.broken_decoders["damaged"] = "decoders/damaged is damaged."
    for name, message in (
        ("fancy", "decoder is 'fancy', but this tokenizer has plain, generative: give one of these"),
        ("damaged", "decoders/damaged is damaged"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decode_latent(some_codes(model), name)


def test_extra_decoders_take_no_part_in_encoding_and_plain_decoding():
    plain, more = tokenizer_of("convolutional"), tokenizer_of("convolutional", "noise_channels")
    assert isinstance(more.decoders, nn.ModuleDict) and not plain.decoders
    codes = some_codes(plain)
    assert torch.equal(plain.decode_latent(codes), more.decode_latent(codes))
    assert {name for name in more.state_dict() if not name.startswith("decoders.")} == set(plain.state_dict())
