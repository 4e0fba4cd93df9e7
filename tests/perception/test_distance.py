import math
import os
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
import torchmetrics.functional.image.lpips
import torchvision
from safetensors.torch import save_file
from torch.nn import functional

from vistok.perception.backbones import BackboneConfig, load_backbone
from vistok.perception.distance import PerceptualConfig, build_perceptual
from vistok.tokenizer.config import parse_config

VGG16 = [(64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "test_efficientnet.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet").state_dict(), path)
    return path


@pytest.fixture
def distance(weights):
    return build_perceptual(PerceptualConfig(backbone="test_efficientnet", weights=weights))


@pytest.fixture(scope="module")
def vgg() -> dict[str, torch.Tensor]:
    """Random weights by torchvision's names, and part of the classifier, as its own file has."""
    generator = torch.Generator().manual_seed(0)
    weights, layer, width = {"classifier.0.bias": torch.zeros(3)}, 0, 3
    for stage in VGG16:
        for channels in stage:
            scale = (2 / (9 * width)) ** 0.5
            weights[f"features.{layer}.weight"] = torch.randn(channels, width, 3, 3, generator=generator) * scale
            weights[f"features.{layer}.bias"] = torch.randn(channels, generator=generator) * 0.1
            layer, width = layer + 2, channels
        layer += 1  # the pooling
    return weights


@pytest.fixture(scope="module")
def lpips(vgg, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save(vgg, path)
    return build_perceptual(PerceptualConfig(weights=path))


def pairs(size: int = 32, number: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.rand(number, 3, size, size) * 2 - 1
    return pixels, (pixels + 0.2 * torch.randn_like(pixels)).clamp(-1, 1)


def test_a_timm_distance_is_its_formula_in_float64(distance, weights):
    pixels, other = pairs(64)
    backbone = load_backbone(BackboneConfig(name="test_efficientnet", weights=weights))
    expected = np.zeros(3)
    stages = list(zip(backbone(pixels), backbone(other), strict=True))
    for f, g in stages:
        f, g = f.double().numpy(), g.double().numpy()
        for image in range(3):
            total = 0.0
            for y in range(f.shape[2]):
                for x in range(f.shape[3]):
                    ours, theirs = f[image, :, y, x], g[image, :, y, x]
                    total += np.sum((ours / np.linalg.norm(ours) - theirs / np.linalg.norm(theirs)) ** 2)
            expected[image] += total / (f.shape[2] * f.shape[3])
    np.testing.assert_allclose(distance(pixels, other), expected / len(stages), rtol=1e-4)


def test_lpips_is_its_formula_over_plain_convolutions(lpips, vgg):
    pixels, other = pairs()
    heads = torch.load(
        os.path.join(os.path.dirname(torchmetrics.functional.image.lpips.__file__), "lpips_models", "vgg.pth"),
        map_location="cpu",
        weights_only=True,
    )

    def stages(values):
        values = ((values.double() + 1) / 2 - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).view(1, 3, 1, 1)
        layer = 0
        for stage in VGG16:
            for _ in stage:
                weight, bias = (vgg[f"features.{layer}.{part}"].double() for part in ("weight", "bias"))
                values = functional.conv2d(values, weight, bias, padding=1).clamp(min=0)
                layer += 2
            yield values / values.norm(dim=1, keepdim=True)
            values = functional.max_pool2d(values, 2)
            layer += 1

    expected = torch.zeros(3, dtype=torch.float64)
    for number, (f, g) in enumerate(zip(stages(pixels), stages(other), strict=True)):
        weight = heads[f"lin{number}.model.1.weight"].double().view(1, -1, 1, 1)
        expected += ((f - g).square() * weight).sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(lpips(pixels, other).double(), expected, rtol=2e-3, atol=1e-6)


@pytest.fixture(params=["distance", "lpips"])
def either(request):
    return request.getfixturevalue(request.param)


def test_distances_are_symmetric_and_zero_at_equality(either):
    pixels, other = pairs()
    forward = either(pixels, other)
    assert forward.shape == (3,)
    assert forward.dtype == torch.float32
    assert (forward > 0).all()
    torch.testing.assert_close(forward, either(other, pixels))
    torch.testing.assert_close(either(pixels, pixels), torch.zeros(3), rtol=0, atol=1e-9)


def test_a_batch_equals_its_pairs_one_by_one(either):
    pixels, other = pairs()
    singles = [either(one[None], two[None]) for one, two in zip(pixels, other, strict=True)]
    torch.testing.assert_close(either(pixels, other), torch.cat(singles), rtol=1e-4, atol=1e-6)
    assert either(pixels[:1], other[:1]).shape == (1,)


def test_gradients_reach_the_reconstruction_alone(either):
    pixels, other = (values.requires_grad_() for values in pairs())
    either(pixels, other).sum().backward()
    assert pixels.grad is None
    assert torch.isfinite(other.grad).all()
    assert other.grad.abs().sum() > 0
    assert not list(either.parameters())
    assert not either.state_dict()


def test_the_gradient_is_the_slope(distance):
    pixels, other = (values.double() for values in pairs(number=1))
    distance.double()
    distance.backbone.forward = in_float64(distance.backbone)
    other.requires_grad_()
    (gradient,) = torch.autograd.grad(distance(pixels, other).sum(), other)
    direction, length = torch.randn_like(other), 1e-6
    with torch.no_grad():
        ahead, behind = (distance(pixels, other + sign * length * direction) for sign in (1, -1))
    slope = float((ahead - behind) / (2 * length))
    assert math.isclose(slope, float((gradient * direction).sum()), rel_tol=1e-4)


def in_float64(backbone):
    """The backbone without its cast to float32, in which finite differences would drown."""

    def forward(pixels):
        normalised = ((pixels + 1) / 2 - backbone.mean) / backbone.deviation
        return backbone.frozen.network.forward_intermediates(normalised, intermediates_only=True, output_fmt="NCHW")

    return forward


def test_autocast_changes_nothing(either):
    pixels, other = pairs()
    with torch.autocast("cpu", torch.bfloat16):
        narrow = either(pixels, other)
    assert torch.equal(narrow, either(pixels, other))


def test_images_that_are_too_small_are_refused(distance, lpips):
    with pytest.raises(
        ValueError, match="Images of 16 x 16 are too small for test_efficientnet, which needs at least 32 x 32"
    ):
        distance(*pairs(16))
    with pytest.raises(ValueError, match="Images of 15 x 15 are too small for lpips-vgg, which needs at least 16 x 16"):
        lpips(*pairs(15))
    assert lpips(*pairs(16)).shape == (3,)


def test_nothing_of_torchvision_is_built_for_a_timm_distance(weights, monkeypatch):
    monkeypatch.setattr(torchvision.models, "vgg16", pytest.fail)
    build_perceptual(PerceptualConfig(backbone="test_efficientnet", weights=weights, stages=[0, 1]))


def test_without_torchvisions_weights_a_file_is_asked_for(monkeypatch):
    def unreachable(weights):
        raise URLError("no route")

    monkeypatch.setattr(torchvision.models, "vgg16", unreachable)
    with pytest.raises(
        ValueError,
        match=r"torchvision's vgg16 weights cannot be loaded \(<urlopen error no route>\): give their file as "
        "criteria.perceptual.weights, or a timm model as criteria.perceptual.backbone",
    ):
        build_perceptual(PerceptualConfig())
    with pytest.raises(ValueError, match=r"\(<urlopen error no route>\): give them as --lpips-weights\.$"):
        build_perceptual(PerceptualConfig(), "give them as --lpips-weights")


def test_a_file_that_is_not_vgg16_is_refused(vgg, tmp_path, monkeypatch):
    small = torch.nn.Module()
    small.features = torch.nn.Sequential(*(torch.nn.Identity() for _ in range(30)))
    small.features[0] = torch.nn.Conv2d(3, 64, 3)
    monkeypatch.setattr(torchvision.models, "vgg16", lambda weights: small)
    path = tmp_path / "vgg.pth"
    for content, problem in (
        ({"other": torch.ones(1)}, "Missing key"),
        ({"features.0.weight": torch.ones(2, 3), "features.0.bias": torch.ones(64)}, "size mismatch"),
    ):
        torch.save(content, path)
        with pytest.raises(
            ValueError, match=rf"vgg.pth does not fit torchvision's vgg16 \(.*{problem}.*\): give their"
        ):
            build_perceptual(PerceptualConfig(weights=path))


def test_stages_are_for_timm_models():
    with pytest.raises(ValueError, match=r"stages is \[1\], but lpips-vgg has fixed stages: remove it"):
        build_perceptual(PerceptualConfig(stages=[1]))
    with pytest.raises(ValueError, match="perceptual.stages"):
        parse_config(PerceptualConfig, {"stages": []}, "perceptual")
