"""Group normalisation that follows the latent."""

import pytest
import torch

from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.tokenizer.networks.adaptive_norm import AdaptiveGroupNorm, latent_statistics
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig

SIDE = {"channels": [32, 64], "blocks": [1, 1], "middle_attention": False}
CONFIG = {"encoder": SIDE, "decoder": SIDE | {"adaptive_norm": True}, "latent_channels": 8}


def randomized(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def test_statistics_are_the_root_of_the_unbiased_variance_and_the_mean():
    latent = torch.randn(3, 5, 4, 6) * 3 + 1
    found = latent_statistics(latent)
    torch.testing.assert_close(found.std, (latent.flatten(2).var(dim=2) + 1e-6).sqrt())
    torch.testing.assert_close(found.mean, latent.mean(dim=(2, 3)))


def test_a_single_position_has_no_variance():
    latent = torch.randn(2, 5, 1, 1)
    found = latent_statistics(latent)
    torch.testing.assert_close(found.std, torch.full((2, 5), 1e-3))
    assert torch.equal(found.mean, latent[:, :, 0, 0])


def test_each_image_is_normalised_scaled_and_shifted_by_itself():
    norm = randomized(AdaptiveGroupNorm(64, 5))
    x, latent = torch.randn(2, 64, 4, 4), torch.randn(2, 5, 2, 2)
    found = norm(x, latent_statistics(latent))
    groups = x.double().reshape(2, 32, -1)
    deviation = (groups.var(dim=2, unbiased=False, keepdim=True) + 1e-6).sqrt()
    normalised = ((groups - groups.mean(dim=2, keepdim=True)) / deviation).reshape(x.shape).float()
    for image in range(2):
        std, mean = (values[image] for values in latent_statistics(latent))
        scale, shift = norm.gamma.weight @ std + norm.gamma.bias, norm.beta.weight @ mean + norm.beta.bias
        expected = normalised[image] * scale[:, None, None] + shift[:, None, None]
        torch.testing.assert_close(found[image], expected, atol=1e-5, rtol=1e-5)


def test_a_new_one_is_plain_group_normalisation():
    x, latent = torch.randn(2, 64, 4, 4), torch.randn(2, 5, 2, 2)
    found = AdaptiveGroupNorm(64, 5)(x, latent_statistics(latent))
    torch.testing.assert_close(found, torch.group_norm(x, 32, eps=1e-6))


def test_a_decoder_has_one_before_each_level_and_muon_takes_its_matrices():
    decoder = ConvolutionalConfig.model_validate(CONFIG).build_decoder()
    assert [norm.gamma.weight.shape for norm in decoder.adaptive_norms] == [(64, 8), (64, 8)]
    assert "adaptive_norms.1.beta.weight" in decoder.hidden_matrices()


def test_a_batch_decodes_as_its_images_do_alone():
    model = small_tokenizer(architecture=ConvolutionalConfig.model_validate(CONFIG)).eval()
    latent = torch.randn(3, 4, 5, 2)
    alone = torch.cat([model.decode_latent(latent[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model.decode_latent(latent), alone, atol=1e-5, rtol=1e-5)


def test_it_needs_group_normalisation():
    with pytest.raises(
        ValueError, match=r"decoder\.adaptive_norm is true, but norm is 'pixel': set norm to 'group'\.$"
    ):
        parse_config(ConvolutionalConfig, CONFIG | {"norm": "pixel"})


def test_an_encoder_has_none():
    with pytest.raises(ValueError, match=r"encoder\.adaptive_norm is not a known key"):
        parse_config(ConvolutionalConfig, CONFIG | {"encoder": CONFIG["decoder"]})
