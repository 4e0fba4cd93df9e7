"""Grouped quantization: each group is the quantizer on its channels."""

import torch

from vistok.tokenizer.quantizers import build_quantizer


def test_groups_are_the_quantizer_on_their_channels():
    torch.manual_seed(0)
    quantizer = build_quantizer(
        {
            "name": "grouped",
            "quantizer": {"name": "vq", "dim": 4, "codebook_size": 32, "gradient": "rotation"},
            "groups": 3,
        }
    ).eval()
    latent = torch.randn(2, 12, 3, 3)
    result = quantizer(latent)
    for group, inner in enumerate(quantizer.quantizers):
        alone = inner(latent[:, 4 * group : 4 * group + 4])
        assert torch.equal(result.tokens[:, group : group + 1], alone.tokens)
        assert torch.equal(result.latent[:, 4 * group : 4 * group + 4], alone.latent)
    assert quantizer.dim == 12 and quantizer.num_codebooks == 3
