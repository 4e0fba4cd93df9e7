"""What every quantizer does with the latents, types and orders of calls that a long run or another's code bring along."""

import copy

import pytest
import torch

from quantizer_table import BINARY, EVERY, SIZE, latent_for, name_of
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.vector.codebooks import Codebook


@pytest.fixture(params=EVERY, ids=name_of)
def quantizer(request):
    torch.manual_seed(0)
    return build_quantizer(request.param)


def names_in(values):
    return {values["name"]} | (names_in(values["quantizer"]) if "quantizer" in values else set())


def total_loss(result):
    return result.latent.square().mean() + sum(result.losses.values())


def test_two_forwards_before_one_backward(quantizer):
    # The gradients are those of one backward pass after each forward: nothing that the first needs is overwritten.
    gradients = []
    for together in (True, False):
        twin = copy.deepcopy(quantizer).train()
        latents = [latent_for(twin, seed).requires_grad_() for seed in (1, 2)]
        torch.manual_seed(3)
        if together:
            sum(total_loss(twin(latent)) for latent in latents).backward()
        else:
            for latent in latents:
                total_loss(twin(latent)).backward()
        gradients.append([leaf.grad for leaf in (*latents, *twin.parameters())])
    for found, expected in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("channels", [1, None], ids=["one channel", "all"])
@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_tokens_are_legal_whatever_the_latent(quantizer, broken, channels):
    latent = latent_for(quantizer)
    latent[1, :channels] = broken
    with torch.no_grad():
        result = quantizer.eval()(latent)
    assert torch.equal(quantizer.lookup(result.tokens), result.latent)
    if quantizer.token_grid(4, 4) == (4, 4):
        whole = quantizer(latent_for(quantizer)).tokens
        assert torch.equal(result.tokens[::2], whole[::2]), "one broken image changed the others"


def test_broken_latents_make_the_loss_nan_in_training(quantizer):
    latent = latent_for(quantizer)
    latent[1] = torch.nan
    result = quantizer.train()(latent.requires_grad_())
    assert total_loss(result).isnan()
    for codebook in (module for module in quantizer.modules() if isinstance(module, Codebook)):
        assert codebook.codes().isfinite().all()


def test_no_latent_in_no_token_out(quantizer):
    for training in (True, False):
        quantizer.train(training)
        latent = latent_for(quantizer)[:0].requires_grad_()
        result = quantizer(latent)
        assert result.latent.shape == latent.shape
        assert result.tokens.shape == (0, quantizer.num_codebooks, *quantizer.token_grid(4, 4))
        assert quantizer.lookup(result.tokens).shape == latent.shape == quantizer.to_code_space(latent).shape
        assert all(float(loss.detach()) == 0 for loss in result.losses.values())
        assert set(result.losses) == set(quantizer(latent_for(quantizer)).losses)
    for codebook in (module for module in quantizer.modules() if isinstance(module, Codebook)):
        assert codebook.codes().isfinite().all()


def test_latents_of_another_type_are_quantized_in_float32(quantizer):
    latent = latent_for(quantizer).bfloat16()
    result = quantizer.eval()(latent)
    assert result.latent.dtype == torch.float32
    assert torch.equal(result.tokens, quantizer(latent.float()).tokens)


def test_the_export_is_a_copy_that_leaves_training_alone(quantizer):
    quantizer.train()
    before = copy.deepcopy(quantizer.state_dict())
    _, exported = quantizer.for_inference()
    assert all(module.training for module in quantizer.modules())
    assert not any(module.training for module in exported.modules())
    own = {id(module) for module in quantizer.modules()}
    assert not any(id(module) in own for module in exported.modules())
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("values", [values for values in EVERY if not {"simvq", "fvq"} & names_in(values)], ids=name_of)
def test_the_export_is_on_the_same_device(values):
    # The meta device represents any other; projections cannot run there.
    _, exported = build_quantizer(values).to("meta").for_inference()
    assert {value.device.type for value in (*exported.parameters(), *exported.buffers())} <= {"meta"}


def test_gradient_stays_small_where_the_direction_is_not_defined(quantizer):
    latent = latent_for(quantizer)
    latent[0] = 0
    latent[1] *= 1e-9
    latent[2] *= torch.logspace(-44, -8, 16).view(4, 4)
    latent.requires_grad_()
    result = quantizer.train()(latent)
    (result.latent.sum() + sum(result.losses.values())).backward()
    assert latent.grad.abs().max() < 2e4


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.int32, torch.uint32, torch.uint64])
def test_lookup_takes_every_type_of_integer(dtype):
    for values in ({"name": "vq", **SIZE}, {"name": "fsq", "levels": [3, 4, 4]}, {"name": "lfq", "dim": 5}):
        quantizer = build_quantizer(values)
        tokens = torch.randint(0, quantizer.vocab_size, (2, 1, 3, 3))
        assert torch.equal(quantizer.lookup(tokens.to(dtype)), quantizer.lookup(tokens))


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.complex64])
def test_lookup_refuses_what_is_no_integer(dtype):
    with pytest.raises(ValueError, match=rf"got tokens of type {dtype}, but takes integers: use tokens.long"):
        build_quantizer({"name": "vq", **SIZE}).lookup(torch.zeros(1, 1, 2, 2, dtype=dtype))


@pytest.mark.parametrize("exponent", [-90, -60, 60, 110])
@pytest.mark.parametrize(
    "values", [BINARY[1], {"name": "leech"}, {"name": "vq", **SIZE, "similarity": "cosine"}], ids=name_of
)
def test_on_the_sphere_the_length_of_a_latent_does_not_matter(values, exponent):
    torch.manual_seed(0)
    quantizer = build_quantizer(values)
    latent = latent_for(quantizer)
    far = (latent * 2.0**exponent).requires_grad_()
    result = quantizer(far)
    assert torch.equal(result.tokens, quantizer(latent).tokens)
    assert torch.equal(quantizer.to_code_space(far), quantizer.to_code_space(latent))
    result.latent.sum().backward()
    assert far.grad.isfinite().all()


@pytest.mark.parametrize("default", [torch.float16, torch.float64])
def test_types_do_not_follow_the_default_of_the_caller(quantizer, default):
    latent = latent_for(quantizer, 1)
    expected = quantizer.eval()(latent).latent
    torch.set_default_dtype(default)
    try:
        found = quantizer(latent).latent
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and torch.equal(found, expected)
