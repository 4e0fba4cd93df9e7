"""Pretrained timm networks, frozen, and their weight files: pixels to feature maps, with gradients for the pixels alone.

Functions import timm themselves: it takes two seconds, which a run without a backbone saves.
"""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ..tokenizer.config import Config
from ..tokenizer.shapes import Latent, Pixels, Vectors


class BackboneConfig(Config):
    """A frozen timm network."""

    name: str
    """Name of a timm model, e.g. resnet50 or vit_small_patch14_dinov2.lvd142m."""
    weights: Path | None = None
    """File with the weights of the whole model, .safetensors or .pth, .pt, .bin; none takes timm's own from the hub."""
    stages: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """Indices of the feature stages to use, from 0 nearest the input; none uses all."""


class Frozen(nn.Module):
    """Hold a network that is run and never trained.

    It moves with `.to()`. It stays in evaluation mode, and its owners find it neither in `parameters()` nor in
    `state_dict()`, so nothing that walks over those unfreezes, trains, averages or saves it.
    """

    network: nn.Module

    def __init__(self, network: nn.Module):
        super().__init__()
        object.__setattr__(self, "network", network.eval().requires_grad_(False))  # past torch, which would register it

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Frozen":
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)


class Backbone(nn.Module):
    """Map pixels to the feature maps of a frozen timm model, in float32 whatever the autocast.

    Pixels in [-1, 1] are normalised with the mean and deviation the model was trained with. A transformer that accepts any
    grid gets images resized to the nearest multiple of its patch, and a model of fixed size to that size. The others take
    them as they are. Features are those before the last normalisation and head.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: Any, name: str, stages: list[int] | None = None):
        from timm.data.config import resolve_model_data_config

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
        self._min_side: int = max(described[stage]["reduction"] for stage in self.stages)
        data = resolve_model_data_config(model)
        any_grid = getattr(model, "dynamic_img_size", False) and len({each["reduction"] for each in described}) == 1
        self._patch = tuple(model.patch_embed.patch_size) if any_grid else None
        self._size = tuple(data["input_size"][1:]) if model.pretrained_cfg.get("fixed_input_size") else None
        self.register_buffer("mean", torch.tensor(data["mean"]).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(data["std"]).view(1, -1, 1, 1), persistent=False)

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
        elif min(size) < self._min_side:
            raise ValueError(
                f"Images of {sides[0]} x {sides[1]} are too small for {self.name}, which needs at least {self._min_side} x "
                f"{self._min_side}: use larger images, earlier stages or another backbone."
            )
        return pixels if size == sides else functional.interpolate(pixels, size, mode="bilinear", antialias=True)


def load_backbone(config: BackboneConfig, remedy: str = "give the path of a file as weights") -> Backbone:
    """Build the model of `config` with its weights, which timm renames where it knows their names.

    `remedy` ends the sentence of the ValueError that is raised when weights cannot be loaded or do not fit.
    """
    import timm

    if config.name not in (known := {*timm.list_models(), *timm.list_pretrained()}):
        near = difflib.get_close_matches(config.name, sorted(known), n=3, cutoff=0.4)
        advice = f"the nearest are {', '.join(near)}" if near else "timm.list_models() lists them"
        raise ValueError(f"{config.name!r} is not a model of timm: {advice}.")
    # Read here, not by timm, which before 1.0.26 runs the code of pickled files.
    overlay = {"state_dict": read_weights(config.weights)} if config.weights else {}
    try:
        model = _create(config.name, overlay)
    except Exception as error:  # timm and the hub's clients raise many kinds
        problem = f"{config.weights} does not fit" if config.weights else "The hub's weights cannot be loaded for"
        raise ValueError(f"{problem} {config.name} ({shortened(error)}): {remedy}.") from None
    model.pretrained_cfg.pop("state_dict", None)  # a copy of all weights
    return Backbone(model, config.name, config.stages)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a safetensors or torch file, or from a training checkpoint of timm.

    No pickled code is run. Raises ValueError with one sentence when the file is missing or holds no weights.
    """
    from timm.models import load_state_dict

    if not path.is_file():
        raise ValueError(f"There is no weight file {path}: correct the path.")
    try:
        content = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds on broken files
        raise ValueError(f"{path} is not a weight file ({shortened(error)}): download it again.") from None
    if not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds other things than named tensors: save the state dict of the model alone.")
    return content


def shortened(error: Exception) -> str:
    """Return the first sentence of an error of another package, at most 120 characters."""
    sentence = " ".join(str(error).split()).partition(". ")[0]
    return sentence[:120].rstrip(" .") or type(error).__name__


def _create(name: str, overlay: dict[str, Any]) -> Any:
    import timm

    try:
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, dynamic_img_size=True)
    except TypeError:  # not a transformer that accepts any grid
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
