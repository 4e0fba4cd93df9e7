"""Pretrained networks of timm as frozen judges: pixels to feature maps, whose gradient reaches the pixels alone."""

import difflib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import timm
import torch
from pydantic import Field
from safetensors.torch import load_file
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn
from torch.nn import functional

from ..tokenizer.config import Config
from ..tokenizer.shapes import Latent, Pixels, Vectors

PICKLES = (".pth", ".pt", ".bin")
COUNTER = "num_batches_tracked"  # of batch norms, which training alone uses; old files lack it


class BackboneConfig(Config):
    """A network of timm that judges images."""

    name: str
    """Name of a timm model, e.g. resnet50 or vit_small_patch14_dinov2.lvd142m."""
    weights: Path | None = None
    """File with the weights of the whole model, .safetensors or .pth, .pt, .bin; none takes timm's own from the hub."""
    stages: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """Which feature stages are taken, counted from 0 at the input's side; none takes all."""


class Frozen(nn.Module):
    """Hold a network that is run and never trained.

    It moves along with `.to()`, and that is all its owners see of it: it stays in evaluation mode, and it is in no
    `parameters()` and no `state_dict()`, so that nothing that walks over those unfreezes, trains, averages or saves it.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self._held = (network.eval().requires_grad_(False),)  # in a tuple, or torch would register it

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Frozen":
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)


class Backbone(nn.Module):
    """Map pixels to the feature maps of a frozen timm model, in float32 whatever the autocast.

    Pixels in [-1, 1] are brought to the mean and deviation that the model was trained with. A transformer reads the grid
    of patches of any image, resized to the nearest multiple of the patch; a model that is bound to one size gets its
    images resized to it; all others take them as they are. Features are those before the last normalisation and head.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Any, name: str, stages: list[int] | None = None):
        super().__init__()
        self.frozen = Frozen(model)
        self.name = name
        described = list(model.feature_info)
        self.stages = sorted(set(range(len(described)) if stages is None else stages))
        if self.stages[-1] >= len(described):
            raise ValueError(
                f"stages has {self.stages[-1]}, but {name} has the stages 0 to {len(described) - 1}: choose from these."
            )
        self.channels: list[int] = [described[stage]["num_chs"] for stage in self.stages]
        self._least: int = max(described[stage]["reduction"] for stage in self.stages)
        one_grid = len({stage["reduction"] for stage in described}) == 1
        reads_any_grid = one_grid and getattr(model, "dynamic_img_size", False)
        facts = resolve_model_data_config(model)
        self._patch = tuple(model.patch_embed.patch_size) if reads_any_grid else None
        self._size = tuple(facts["input_size"][1:]) if model.pretrained_cfg.get("fixed_input_size") else None
        self.register_buffer("mean", torch.tensor(facts["mean"]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(facts["std"]).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Pixels) -> list[Latent]:
        """Return the features of each stage, `b d y x`; raise ValueError when the images are too small."""
        with torch.autocast(pixels.device.type, enabled=False):
            normalised = ((self._resized(pixels.float()) + 1) / 2 - self.mean) / self.deviation
            features: Any = self.frozen.network.forward_intermediates(  # type: ignore[operator]
                normalised, indices=self.stages, intermediates_only=True, output_fmt="NCHW", stop_early=True
            )
            return list(features)

    def pooled(self, pixels: Pixels) -> Vectors:
        """Return the mean of the last stage's features over the grid, `n d`."""
        return self(pixels)[-1].mean(dim=(2, 3))

    def _resized(self, pixels: Tensor) -> Tensor:
        sides = tuple(pixels.shape[-2:])
        size = self._size or sides
        if self._patch:
            size = tuple(max(1, round(side / patch)) * patch for side, patch in zip(sides, self._patch, strict=True))
        elif min(size) < self._least:
            raise ValueError(
                f"Images of {sides[0]} x {sides[1]} are too small for {self.name}, which needs {self._least} x "
                f"{self._least} at least: take larger images, earlier stages or another backbone."
            )
        return pixels if size == sides else functional.interpolate(pixels, size, mode="bilinear", antialias=True)


def load_backbone(config: BackboneConfig) -> Backbone:
    """Build the model of `config` with its weights; raise ValueError with one sentence when one cannot be had.

    The weights of a file are matched by name. Where the names differ, they are taken in order, if there are as many and
    each agrees with its counterpart in shape and in the last part of its name: so .pth files of other packages fit.
    """
    if config.name not in (known := {*timm.list_models(), *timm.list_pretrained()}):
        near = difflib.get_close_matches(config.name, sorted(known), n=3, cutoff=0.4)
        raise ValueError(f"{config.name!r} is not a model of timm: the nearest are {', '.join(near) or 'none'}.")
    model = _from_file(config.name, config.weights) if config.weights else _from_hub(config.name)
    return Backbone(model, config.name, config.stages)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors, no pickled code being run; raise ValueError when that cannot be done."""
    if path.suffix not in (".safetensors", *PICKLES):
        raise ValueError(f"weights is {path}, but must be a file that ends in .safetensors, {', '.join(PICKLES)}.")
    if not path.is_file():
        raise ValueError(f"weights is {path}, but there is no such file: correct the path.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds on broken files
        raise ValueError(f"{path} is damaged or holds no weights ({_short(error)}): download it again.") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds other things than named tensors: save the state dict of the model alone.")
    return content


def _from_hub(name: str) -> nn.Module:
    try:
        return _create(name, pretrained=True)
    except Exception as error:  # the hub's clients raise many kinds
        problem = f"timm's weights of {name} cannot be had ({_short(error)})"
        raise ValueError(f"{problem}: give the path of a file as weights.") from None


def _from_file(name: str, path: Path) -> nn.Module:
    given = read_weights(path)
    model = _create(name, pretrained=False)
    try:
        fitted = _fitted(given, model.state_dict())
    except ValueError as error:
        raise ValueError(f"{path} does not fit {name}: {error}; give weights of this model.") from None
    model.load_state_dict(fitted, strict=False)
    return model


def _create(name: str, pretrained: bool) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=pretrained, dynamic_img_size=True)
    except TypeError:  # not a transformer that reads any grid
        return timm.create_model(name, pretrained=pretrained)


def _fitted(given: dict[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    given, state = _but_counters(given), _but_counters(state)

    def fits(theirs: str | None, ours: str | None) -> bool:
        if theirs is None or ours is None or (theirs != ours and theirs in state):
            return False
        return theirs.rpartition(".")[2] == ours.rpartition(".")[2] and given[theirs].shape == state[ours].shape

    same_names = given.keys() == state.keys()
    pairs = list(itertools.zip_longest(state if same_names else given, state))
    misfits = [pair for pair in pairs if not fits(*pair)]
    if not misfits:
        return {ours: given[theirs] for theirs, ours in pairs}
    if not same_names and given.keys() & state.keys():
        misfits = [(None, name) for name in state if name not in given]
        misfits += [(name, None) for name in given if name not in state]
    theirs, ours = misfits[0]
    raise ValueError(f"{_named(ours, state)} is due where the file has {_named(theirs, given)}")


def _but_counters(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.endswith(COUNTER)}


def _named(name: str | None, tensors: dict[str, Tensor]) -> str:
    return f"{name} {tuple(tensors[name].shape)}" if name else "nothing"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120].rstrip(" .") or type(error).__name__
