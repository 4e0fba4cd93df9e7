import pytest
import torch

from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.config import parse_choice, parse_config
from vistok.tokenizer.model import build_tokenizer
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig
from vistok.tokenizer.quantizers import QUANTIZERS

PUBLISHED = {"channels": [128, 128, 256, 256, 512], "blocks": [2] * 5, "attention": [4]}


def test_llamagen_vq16_is_an_instance():
    # 71,883,403 parameters, 71,674,624 of them in convolutions: counted on the published network.
    architecture = ConvolutionalConfig.model_validate(
        {"encoder": PUBLISHED, "decoder": {**PUBLISHED, "blocks": [3] * 5}}
    )
    quantizer = parse_choice(
        QUANTIZERS, {"name": "vq", "dim": 8, "codebook_size": 16384, "similarity": "cosine"}, "quantizer"
    )
    with torch.device("meta"):
        model = build_tokenizer(architecture, quantizer)
    assert sum(parameter.numel() for parameter in model.parameters()) == 71_883_403
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.ndim == 4) == 71_674_624
    assert model.downsample == 16


@pytest.mark.parametrize("norm", ["group", "pixel"])
@pytest.mark.parametrize("resampling", ["strided", "shuffle"])
@pytest.mark.parametrize("stem", [1, 2, 4])
def test_every_combination_goes_to_tokens_and_back(norm, resampling, stem):
    side = {"channels": [32, 64], "blocks": [1, 1], "attention": [1], "middle": True}
    architecture = ConvolutionalConfig.model_validate(
        {"norm": norm, "resampling": resampling, "stem": stem, "encoder": side, "decoder": side, "latent_channels": 16}
    )
    model = build_tokenizer(architecture, parse_choice(QUANTIZERS, {"name": "fsq", "levels": [5, 5, 5]}, "quantizer"))
    pixels = torch.rand(2, 3, 8 * stem, 4 * stem) * 2 - 1
    result = model(pixels)
    assert result.pixels.shape == pixels.shape
    assert result.tokens.shape == (2, 1, 4, 2)
    assert model.decode(model.encode(pixels)).abs().max() <= 1
    result.pixels.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_pixel_norm_makes_tokens_local():
    # Far from a change nothing moves: no statistic is taken over the image.
    model = small_tokenizer().eval()
    pixels = torch.rand(1, 3, 256, 256) * 2 - 1
    changed = pixels.clone()
    changed[..., 192:, 192:] = 0
    before, after = model.encode_latent(pixels), model.encode_latent(changed)
    assert torch.equal(before[..., :8, :8], after[..., :8, :8])
    assert not torch.equal(before, after)


@pytest.mark.parametrize("shape", [(1, 3, 60, 64), (1, 4, 64, 64), (3, 64, 64)])
def test_pixels_that_do_not_fit_are_refused(shape):
    with pytest.raises((ValueError, Exception), match=r"multiples of 8|Type-check error"):
        small_tokenizer().encode(torch.zeros(shape))


def test_latent_and_quantizer_must_fit():
    architecture = ARCHITECTURE.model_copy(update={"quantizer_convolutions": False})
    with pytest.raises(ValueError, match="latent_channels is 8 but the quantizer takes 3: make them equal"):
        build_tokenizer(architecture, parse_choice(QUANTIZERS, {"name": "fsq", "levels": [3, 3, 3]}, "quantizer"))


SIDE = {"channels": [32], "blocks": [1]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"encoder": {"channels": [32, 32], "blocks": [1]}, "decoder": SIDE},
            r"blocks has 1 levels but channels has 2",
        ),
        (
            {"encoder": {**SIDE, "attention": [1]}, "decoder": SIDE},
            r"attention names level 1, but the levels are 0 to 0",
        ),
        (
            {"encoder": SIDE, "decoder": {"channels": [32, 32], "blocks": [1, 1]}},
            r"encoder has 1 levels of different grids but decoder has 2",
        ),
        ({"encoder": {"channels": [48], "blocks": [1]}, "decoder": SIDE}, r"norm 'group' needs multiples of 32"),
        ({"encoder": SIDE, "decoder": SIDE, "stem": 3}, r"stem is 3, but must be"),
        (
            {"encoder": {**SIDE, "block": 3}, "decoder": SIDE},
            r"encoder.block is not a known key: did you mean 'blocks'",
        ),
    ],
)
def test_wrong_architecture_is_one_sentence(values, message):
    with pytest.raises(ValueError, match=message):
        parse_config(ConvolutionalConfig, values)


def test_the_smallest_image_has_a_grid_of_one_position():
    side = {"channels": [32], "blocks": [1], "middle": False}
    architecture = ConvolutionalConfig.model_validate(
        {"stem": 4, "latent_channels": 8, "encoder": side, "decoder": side}
    )
    model = small_tokenizer(architecture=architecture)
    assert model.encode(torch.zeros(1, 3, 4, 4)).shape == (1, 1, 1, 1)
