from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

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
    model = backbone("test_efficientnet", tmp_path)
    theirs = timm.create_model("test_efficientnet", features_only=True).eval()
    missing = theirs.load_state_dict(model.frozen.network.state_dict(), strict=False).missing_keys
    assert not missing
    pixels = images()
    expected = theirs(((pixels + 1) / 2 - IMAGENET_MEAN) / IMAGENET_DEVIATION)
    features = model(pixels)
    assert model.channels == [features.shape[1] for features in expected]
    for ours, own in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, own)
    torch.testing.assert_close(model.pooled(pixels), expected[-1].mean(dim=(2, 3)))


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
    model = backbone("test_vit", tmp_path)
    network = model.frozen.network
    pixels = images(160, 160)
    tokens = network._pos_embed(network.patch_embed(pixels))  # its mean and deviation are those of [-1, 1]
    for block, features in zip(network.blocks, model(pixels), strict=True):
        tokens = block(tokens)
        grid = tokens[:, network.num_prefix_tokens :].reshape(2, 10, 10, -1).permute(0, 3, 1, 2)
        torch.testing.assert_close(features, grid)


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [("test_vit", (50, 39), (48, 32)), ("test_vit", (5, 64), (16, 64)), ("test_vit_relpos", (40, 56), (160, 160))],
)
def test_images_are_resized_to_what_a_transformer_takes(tmp_path, name, given, taken):
    model = backbone(name, tmp_path)
    pixels = images(*given)
    resized = functional.interpolate(pixels, taken, mode="bilinear", antialias=True)
    features = model(pixels)[-1]
    assert features.shape[2:] == (taken[0] // 16, taken[1] // 16)
    assert torch.equal(features, model(resized)[-1])


def test_images_smaller_than_the_deepest_stage_are_refused(tmp_path):
    model = backbone("test_resnet", tmp_path)
    with pytest.raises(
        ValueError, match=r"Images of 31 x 64 are too small for test_resnet, which needs at least 32 x 32"
    ):
        model(images(31, 64))
    shallow = load_backbone(
        BackboneConfig(name="test_resnet", weights=tmp_path / "test_resnet.safetensors", stages=[0])
    )
    assert shallow(images(2, 2))[0].shape[2:] == (1, 1)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_a_batch_equals_its_images_one_by_one(tmp_path, name):
    model = backbone(name, tmp_path)
    pixels = images(number=3)
    for whole, *single in zip(model(pixels), *(model(image[None]) for image in pixels), strict=True):
        torch.testing.assert_close(whole, torch.cat(single), rtol=1e-4, atol=1e-5)


def test_nothing_its_owners_do_unfreezes_it(tmp_path):
    owner = torch.nn.ModuleDict({"model": backbone("test_resnet", tmp_path)})
    before = owner["model"](images(number=1).fill_(0.5))
    owner.train().requires_grad_(True)
    assert not list(owner.parameters())
    assert not owner.state_dict()
    network = owner["model"].frozen.network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    for ours, own in zip(before, owner["model"](images(number=1).fill_(0.5)), strict=True):
        assert torch.equal(ours, own)
    owner.to(torch.float64)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}


def test_gradients_reach_the_pixels(tmp_path):
    model = backbone("test_resnet", tmp_path)
    pixels = images().requires_grad_()
    model(pixels)[-1].square().sum().backward()
    assert pixels.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.frozen.network.parameters())


def test_autocast_changes_nothing(tmp_path):
    model = backbone("test_resnet", tmp_path)
    pixels = images()
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model(pixels)
    assert all(torch.equal(ours, own) for ours, own in zip(narrow, model(pixels), strict=True))


def test_a_training_checkpoint_of_timm_is_read(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    model = load_backbone(BackboneConfig(name="test_resnet", weights=path)).frozen.network
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    assert "state_dict" not in model.pretrained_cfg


def test_files_from_before_batch_norms_counted_are_read(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    path = tmp_path / "old.pth"
    torch.save({name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}, path)
    again = load_backbone(BackboneConfig(name="test_resnet", weights=path)).frozen.network.state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: {key: value for key, value in state.items() if key != "bn1.bias"}, 'Missing key.*"bn1.bias"'),
        (lambda state: state | {"extra": torch.ones(2)}, 'Unexpected key.*"extra"'),
        (lambda state: state | {"fc.bias": torch.ones(7)}, "size mismatch for fc.bias.*"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, problem):
    path = tmp_path / "weights.pt"
    torch.save(change(timm.create_model("test_resnet").state_dict()), path)
    with pytest.raises(
        ValueError, match=rf"weights.pt does not fit test_resnet \(.*{problem}\): give the path of a file"
    ):
        load_backbone(BackboneConfig(name="test_resnet", weights=path))


class Evil:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_files_that_are_no_weights_are_refused(tmp_path):
    def load(path):
        load_backbone(BackboneConfig(name="test_resnet", weights=path))

    with pytest.raises(ValueError, match=r"There is no weight file .*none.pth: correct the path"):
        load(tmp_path / "none.pth")
    for name in ("broken.pth", "broken.safetensors", "a.npz"):
        (tmp_path / name).write_bytes(b"not weights")
        with pytest.raises(ValueError, match=rf"{name} is not a weight file \(.*\): download it again"):
            load(tmp_path / name)
    for content in ({}, {"model": {}}, {"epoch": 3, "optimizer": {}}):
        torch.save(content, tmp_path / "run.pt")
        with pytest.raises(ValueError, match=r"run.pt holds other things than named tensors: save the state dict"):
            load(tmp_path / "run.pt")


def test_pickled_code_is_never_run(tmp_path):
    torch.save({"weight": Evil(tmp_path / "made")}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil.pth is not a weight file \(weights_only=True blocked"):
        load_backbone(BackboneConfig(name="test_resnet", weights=tmp_path / "evil.pth"))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["resnet_50", "resnet50.a1_in1"])
def test_an_unknown_name_is_answered_with_the_nearest(name):
    with pytest.raises(ValueError, match=f"'{name}' is not a model of timm: the nearest are .*resnet50"):
        load_backbone(BackboneConfig(name=name))


def test_a_name_that_is_near_to_none_is_answered_with_where_they_are_listed():
    with pytest.raises(ValueError, match=r"^'q!q' is not a model of timm: timm\.list_models\(\) lists them\.$"):
        load_backbone(BackboneConfig(name="q!q"))


def test_without_the_hub_a_file_is_asked_for(monkeypatch):
    def unreachable(name, pretrained, **options):
        assert pretrained
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        ValueError, match=r"The hub's weights cannot be loaded for resnet10t \(no route\): give the path of a file"
    ):
        load_backbone(BackboneConfig(name="resnet10t"))
