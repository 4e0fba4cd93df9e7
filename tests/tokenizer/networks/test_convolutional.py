"""Options of the convolutional networks that public tokenizers need."""

import pytest
import torch
from torch.nn import functional

from samples import small_tokenizer
from vistok.tokenizer.networks.blocks import AttentionBlock, ResidualBlock
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig

KINDS = {ResidualBlock: "block", AttentionBlock: "attention"}


def config(**side):
    stack = {"channels": [32, 64], "blocks": [1, 1], **side}
    return ConvolutionalConfig.model_validate({"encoder": stack, "decoder": stack, "latent_channels": 8})


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, ["block", "attention", "block"]),
        ({"middle_attention": False}, ["block", "block"]),
        ({"middle_blocks": 4, "middle_attention": False}, ["block"] * 4),
        ({"middle_blocks": 1}, ["block", "attention"]),
        ({"middle_blocks": 3}, ["block", "attention", "block", "block"]),
        ({"middle": False, "middle_blocks": 3}, []),
    ],
)
def test_the_middle_has_the_layers_that_the_config_names(options, layers):
    model = small_tokenizer(architecture=config(**options))
    for network in (model.encoder, model.decoder):
        assert [KINDS[type(layer)] for layer in network.middle.children()] == layers
        kernels = {f"middle.{name}" for name, value in network.middle.named_parameters() if value.ndim > 1}
        assert kernels <= set(network.hidden_matrices())
    result = model(torch.rand(1, 3, 8, 12) * 2 - 1)
    result.pixels.square().mean().backward()
    assert all(parameter.grad is not None for parameter in (*model.encoder.parameters(), *model.decoder.parameters()))


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 0.989)])
def test_pixel_values_are_what_the_networks_see_and_give_back(values):
    plain, other = (
        small_tokenizer(architecture=config().model_copy(update={"pixel_values": each}))
        for each in ((-1.0, 1.0), values)
    )
    black, white = values
    pixels = torch.rand(2, 3, 8, 8) * 2 - 1
    seen = black + (pixels + 1) / 2 * (white - black)
    torch.testing.assert_close(other.encode_latent(pixels), plain.encode_latent(seen))
    latent = torch.randn(2, 4, 4, 4)
    expected = (plain.decode_latent(latent) - black) / (white - black) * 2 - 1
    torch.testing.assert_close(other.decode_latent(latent), expected)


def test_a_shortcut_of_the_output_drops_the_input_where_the_channels_change():
    block = ResidualBlock(32, 64, "group", shortcut_of_output=True)
    x = torch.randn(2, 32, 4, 4)
    inner = block.conv1(functional.silu(block.norm1(x)))
    inner = block.conv2(functional.silu(block.norm2(inner)))
    assert block.shortcut.weight.shape == (64, 64, 1, 1) and inner.any()  # at the start too
    torch.testing.assert_close(block(x), inner + block.shortcut(inner))
    assert torch.equal(ResidualBlock(32, 32, "group", shortcut_of_output=True)(x), x)
