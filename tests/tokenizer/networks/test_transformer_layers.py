"""Layers of transformers beside independent code: torch's, timm's ViTamin, and formulas."""

import pytest
import timm
import torch
from torch import nn
from transformer_networks import LATENT_TOKENS

from vistok.pretrained.importers.unitok import UNITOK
from vistok.tokenizer.config import parse_config
from vistok.tokenizer.networks.attention_projection import ResizingAttention
from vistok.tokenizer.networks.hybrid import HybridConfig
from vistok.tokenizer.networks.latent_tokens import LatentTokensConfig
from vistok.tokenizer.networks.transformer import TransformerBlock, TransformerConfig


def noisy(module, seed=0):
    """Draw all weights, so that none is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.3
        parameter.data = torch.randn(parameter.shape, generator=generator) * scale + (parameter.ndim == 1) * 0.5
    return module.eval().requires_grad_(False)


def test_a_block_computes_what_torch_computes():
    ours = noisy(TransformerBlock(TransformerConfig(width=32, layers=1, heads=4, epsilon=1e-5)))
    theirs = nn.TransformerEncoderLayer(32, 4, 128, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    layers = {"norm1": ours.norm1, "norm2": ours.norm2, "self_attn.out_proj": ours.attention.out}
    layers |= {"linear1": ours.mlp.expand, "linear2": ours.mlp.contract}
    state = {f"{name}.{kind}": value for name, layer in layers.items() for kind, value in layer.state_dict().items()}
    qkv = ours.attention.qkv
    theirs.load_state_dict(state | {"self_attn.in_proj_weight": qkv.weight, "self_attn.in_proj_bias": qkv.bias})
    x = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours(x), theirs.eval()(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_the_hybrid_encoder_computes_what_vitamin_of_timm_computes(size):
    options = {"num_classes": 0, "global_pool": "", "pos_embed": "none", "fc_norm": False}
    theirs = noisy(timm.create_model("vitamin_small_224", img_size=size, **options))
    blocks = {"width": 384, "layers": 14, "heads": 6, "mlp": "gated", "expansion": 2}
    side = {"channels": [64, 128], "blocks": [2, 4], "transformer": blocks}
    config = parse_config(HybridConfig, {"encoder": side, "decoder": side, "latent_channels": 4})
    ours = config.build_encoder().eval()
    ours.projection = nn.Identity()
    tensors = {f"encoder.{name}": value for name, value in theirs.state_dict().items()}
    tensors["encoder.pos_embed"] = torch.zeros(1, 1, 384)
    weights = UNITOK.weights(config, [f"encoder.{name}" for name in ours.state_dict()], tensors.pop)
    assert not tensors
    ours.load_state_dict({name.removeprefix("encoder."): value for name, value in weights.items()})
    pixels = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = theirs(pixels).transpose(1, 2).reshape(2, 384, size[0] // 16, size[1] // 16)
    torch.testing.assert_close(ours(pixels), expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(("width", "out_width"), [(12, 4), (4, 12), (4, 4)])
def test_heads_have_the_smaller_width_and_are_averaged_or_joined(width, out_width):
    layer = noisy(ResizingAttention(width, out_width))
    x = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(1))
    query, key, value = (x @ layer.qkv.weight.T + layer.qkv.bias).chunk(3, dim=2)
    heads = []
    for index in range(max(width, out_width) // 4):
        q, k, v = (part[..., 4 * index : 4 * index + 4] for part in (query, key, value))
        heads.append((q @ k.transpose(1, 2) / 2).softmax(dim=2) @ v)
    joined = torch.stack(heads).mean(dim=0) if width > out_width else torch.cat(heads, dim=2)
    torch.testing.assert_close(layer(x), joined @ layer.out.weight.T + layer.out.bias, atol=1e-5, rtol=1e-5)


def test_mixed_latents_are_the_table_of_tokens_read_as_one_of_channels():
    plain, mixed = (
        noisy(parse_config(LatentTokensConfig, LATENT_TOKENS | {"mixes_latents": mixes}).build_encoder())
        for mixes in (False, True)
    )
    mixed.load_state_dict(plain.state_dict())
    seen = []
    plain.norm_out.register_forward_hook(lambda module, inputs, output: seen.append(output))
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    plain(pixels)
    table = seen[0].flatten().reshape(32, 6)  # tokens by channels, row after row
    expected = plain.to_latent.weight @ table + plain.to_latent.bias[:, None]
    torch.testing.assert_close(mixed(pixels)[0, :, 0], expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mixed(pixels), plain(pixels), atol=1e-2)
