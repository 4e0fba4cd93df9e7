import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

from vistok.perception.backbones import BackboneConfig
from vistok.tokenizer.config import parse_choice
from vistok.train.losses.discriminators import (
    DISCRIMINATORS,
    BackboneDiscriminatorConfig,
    PatchDiscriminatorConfig,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    for name in ("test_resnet", "test_vit"):
        save_file(timm.create_model(name).state_dict(), folder / f"{name}.safetensors")
    return folder


def backbone_config(weights, name="test_resnet", **options):
    return BackboneDiscriminatorConfig(
        backbone=BackboneConfig(name=name, weights=weights / f"{name}.safetensors", **options), channels=8
    )


@pytest.fixture(params=["batch", "group", "none", "test_resnet", "test_vit"])
def discriminator(request, weights):
    if request.param in ("batch", "group", "none"):
        return PatchDiscriminatorConfig(channels=8, norm=request.param).build()
    return backbone_config(weights, request.param).build()


def images(size: int = 64, number: int = 3) -> torch.Tensor:
    return torch.rand(number, 3, size, size) * 2 - 1


def test_the_patch_discriminator_is_that_of_pix2pix():
    discriminator = PatchDiscriminatorConfig(norm="batch").build()
    convolutions = [module for module in discriminator.modules() if isinstance(module, torch.nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels, conv.stride[0]) for conv in convolutions] == [
        (3, 64, 2),
        (64, 128, 2),
        (128, 256, 2),
        (256, 512, 1),
        (512, 1, 1),
    ]
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == 2_765_633
    assert discriminator(images(256, 1)).shape == (1, 1, 30, 30)


def test_a_logit_sees_70_pixels():
    discriminator = PatchDiscriminatorConfig(channels=4, norm="none").build()
    pixels = images(128, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(pixels)[0, 0, 7, 7], pixels)
    rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_the_patch_discriminator_is_its_layers():
    discriminator = PatchDiscriminatorConfig(channels=4, layers=1, norm="group").build()
    weights = list(discriminator.parameters())
    assert [tuple(weight.shape) for weight in weights if weight.ndim == 4] == [(4, 3, 4, 4), (8, 4, 4, 4), (1, 8, 4, 4)]
    first, first_bias, second, second_bias, scale, shift, last, last_bias = (weight.double() for weight in weights)
    pixels = images(8)
    values = functional.conv2d(pixels.double(), first, first_bias, stride=2, padding=1)
    values = torch.where(values > 0, values, 0.2 * values)
    values = functional.conv2d(values, second, second_bias, padding=1)
    groups = values.unflatten(1, (2, 4))
    groups = groups - groups.mean(dim=(2, 3, 4), keepdim=True)
    values = (groups / (groups.square().mean(dim=(2, 3, 4), keepdim=True) + 1e-5).sqrt()).flatten(1, 2)
    values = values * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
    values = torch.where(values > 0, values, 0.2 * values)
    expected = functional.conv2d(values, last, last_bias, padding=1)
    torch.testing.assert_close(discriminator(pixels).double(), expected, rtol=1e-4, atol=1e-5)


def test_a_backbone_has_a_logit_for_each_position_of_each_stage(weights):
    assert backbone_config(weights).build()(images()).shape == (3, 32**2 + 16**2 + 8**2 + 4**2 + 2**2)
    assert backbone_config(weights, stages=[2, 4]).build()(images()).shape == (3, 8**2 + 2**2)
    assert backbone_config(weights, "test_vit", stages=[5]).build()(images()).shape == (3, 16)


def test_the_heads_convolutions_have_a_spectral_norm_of_1(weights):
    discriminator = backbone_config(weights).build()
    for _ in range(30):  # each is a step of the power iteration
        discriminator(images(32, 1))
    for module in discriminator.eval().modules():
        if isinstance(module, torch.nn.Conv2d):
            largest = torch.linalg.matrix_norm(module.weight.flatten(1), ord=2)
            assert float(largest.detach()) == pytest.approx(1, rel=0.05)


def test_only_the_heads_are_trained_and_saved(weights):
    config = backbone_config(weights)
    discriminator = config.build()
    names = {name.partition(".")[0] for name in discriminator.state_dict()}
    assert names == {"heads"}
    assert {name.partition(".")[0] for name, _ in discriminator.named_parameters()} == {"heads"}
    discriminator.train().requires_grad_(True)
    pixels = images().requires_grad_()
    discriminator(pixels).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in discriminator.heads[0].parameters())
    assert pixels.grad.abs().sum() > 0
    frozen = discriminator.backbone.frozen.network
    assert all(parameter.grad is None for parameter in frozen.parameters())
    again = config.build()
    again.load_state_dict(discriminator.state_dict())
    assert torch.equal(again.eval()(images().fill_(0.3)), discriminator.eval()(images().fill_(0.3)))


def test_a_frozen_discriminator_still_tells_the_pixels_where_to_go(discriminator):
    discriminator.requires_grad_(False)
    pixels = images().requires_grad_()
    discriminator(pixels).mean().backward()
    assert torch.isfinite(pixels.grad).all()
    assert pixels.grad.abs().sum() > 0


def test_a_batch_equals_its_images_one_by_one(discriminator):
    discriminator.eval()
    pixels = images()
    singles = torch.cat([discriminator(image[None]) for image in pixels])
    torch.testing.assert_close(discriminator(pixels), singles, rtol=1e-4, atol=1e-5)


def test_logits_are_float32_under_autocast(discriminator):
    discriminator.eval()
    pixels = images()
    with torch.autocast("cpu", torch.bfloat16):
        logits = discriminator(pixels)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, discriminator(pixels), rtol=0.1, atol=0.02)


def test_it_learns_to_tell_grey_from_colour(discriminator):
    real, fake = images(), images().mean(dim=1, keepdim=True).expand(3, 3, 64, 64)
    optimizer = torch.optim.AdamW(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.9))
    losses = []
    for _ in range(12):
        loss = functional.softplus(-discriminator(real)).mean() + functional.softplus(discriminator(fake)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1


def test_small_images_are_refused():
    discriminator = PatchDiscriminatorConfig(channels=4).build()
    assert discriminator(images(24, 1)).shape == (1, 1, 1, 1)
    with pytest.raises(
        ValueError,
        match="Images of 23 x 23 are too small for a patch discriminator of 3 layers, which needs 24 x 24 at least: "
        "lower discriminator.layers",
    ):
        discriminator(images(23, 1))


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_configs_are_found_by_their_name(name):
    values = {"name": name} | ({"backbone": {"name": "test_resnet"}} if name == "backbone" else {})
    config = parse_choice(DISCRIMINATORS, values, "discriminator")
    assert type(config) is DISCRIMINATORS[name]
    assert parse_choice(DISCRIMINATORS, config.model_dump(mode="json"), "discriminator") == config


def test_wrong_configs_are_refused():
    with pytest.raises(
        ValueError, match="discriminator.name 'patsh' is not a known discriminator: did you mean 'patch'"
    ):
        parse_choice(DISCRIMINATORS, {"name": "patsh"}, "discriminator")
    with pytest.raises(ValueError, match=r"a.discriminator.backbone is missing: set it \(frozen network"):
        parse_choice(DISCRIMINATORS, {"name": "backbone"}, "a.discriminator")
    with pytest.raises(ValueError, match="^a.discriminator.name None is not a known discriminator"):
        parse_choice(DISCRIMINATORS, {}, "a.discriminator")
