"""Figures that need a frozen network: LPIPS, rFID, and the Frechet distance over any timm backbone."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..perception.backbones import BackboneConfig, load_backbone
from ..perception.distance import PerceptualConfig, build_perceptual
from ..tokenizer.shapes import Pixels, Vectors
from .frechet import FeatureStatistics, feature_statistics, frechet_distance, merge_statistics
from .inception import load_inception


class Judge(Protocol):
    """Looks at images and their reconstructions, batch after batch `b c h w`, and has a figure in the end."""

    name: str

    def look(self, original: Pixels, reconstruction: Pixels) -> None:
        """Take note of a batch of pairs."""

    def figure(self) -> float:
        """Return the figure over all pairs."""


class PerceptualJudge:
    """The mean perceptual distance."""

    def __init__(self, name: str, distance: nn.Module, device: torch.device):
        self.name = name
        self._distance = distance.to(device)
        self._device = device
        self._sums: list[Tensor] = []
        self._number = 0

    @torch.inference_mode()
    def look(self, original: Pixels, reconstruction: Pixels) -> None:
        self._sums.append(self._distance(original.to(self._device), reconstruction.to(self._device)).sum())
        self._number += len(original)

    def figure(self) -> float:
        return float(torch.stack(self._sums).cpu().double().sum()) / self._number


class FrechetJudge:
    """The Frechet distance between the features of the images and of their reconstructions."""

    def __init__(self, name: str, pooled: Callable[[Pixels], Vectors], device: torch.device):
        self.name = name
        self._pooled = pooled
        self._device = device
        self._statistics: list[FeatureStatistics] = []

    @torch.inference_mode()
    def look(self, original: Pixels, reconstruction: Pixels) -> None:
        sides = (original.to(self._device), reconstruction.to(self._device))
        seen = [feature_statistics(self._pooled(pixels)) for pixels in sides]
        if self._statistics:
            seen = [merge_statistics(a, b) for a, b in zip(self._statistics, seen, strict=True)]
        self._statistics = seen

    def figure(self) -> float:
        return frechet_distance(*self._statistics)


class Jury:
    """Judges of whom each leaves, with its reason, when it cannot judge the images; the others go on."""

    def __init__(self, judges: Sequence[Judge]):
        self._judges = list(judges)
        self.dropped: dict[str, str] = {}
        """Reasons by name."""

    def look(self, original: Pixels, reconstruction: Pixels) -> None:
        """Show all judges a batch of pairs."""
        for judge in list(self._judges):
            with self._may_leave(judge):
                judge.look(original, reconstruction)

    def figures(self) -> dict[str, float]:
        """Return the figures of those who stayed, by name."""
        figures: dict[str, float] = {}
        for judge in list(self._judges):
            with self._may_leave(judge):
                figures[judge.name] = judge.figure()
        return figures

    @contextmanager
    def _may_leave(self, judge: Judge) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            self.dropped[judge.name] = str(error)
            self._judges.remove(judge)


class Panel(NamedTuple):
    """The judges that could be had, and why the others could not."""

    judges: list[Judge]
    not_measured: dict[str, str]
    """Reasons by name."""


def gather_judges(
    frechet: Sequence[str],
    lpips_weights: Path | None,
    inception_weights: Path | None,
    device: torch.device,
    out_of_reach: Mapping[str, str] | None = None,
) -> Panel:
    """Build LPIPS and rFID where their weights can be had, and the Frechet distances that were asked for.

    `frechet` names timm models, each alone or as NAME=FILE with its weights. Raises ValueError when something that was asked
    for by name or file cannot be had; what only the network could bring is noted instead.
    """
    judges: list[Judge] = []
    missing = dict(out_of_reach or {})

    def lpips() -> Judge:
        return PerceptualJudge("lpips", _lpips(lpips_weights), device)

    def rfid() -> Judge:
        return FrechetJudge("rfid", load_inception(inception_weights).to(device).pooled, device)

    for name, build, asked in (("lpips", lpips, lpips_weights), ("rfid", rfid, inception_weights)):
        if name in missing:
            continue
        try:
            judges.append(build())
        except ValueError as error:
            if asked is not None:
                raise
            missing[name] = str(error)
    for text in frechet:
        name, _, file = text.partition("=")
        try:
            backbone = load_backbone(BackboneConfig(name=name, weights=Path(file) if file else None)).to(device)
        except ValueError as error:
            # perception speaks of a config's keys, here it is an option.
            told = str(error).replace("give the path of a file as weights", f"give their file as --frechet {name}=FILE")
            raise ValueError(told) from None
        judges.append(FrechetJudge(f"frechet/{name}", backbone.pooled, device))
    return Panel(judges, missing)


def _lpips(weights: Path | None) -> nn.Module:
    try:
        return build_perceptual(PerceptualConfig(weights=weights))
    except ValueError as error:
        # perception speaks of the keys of a training config, here it is an option.
        problem = re.sub(r"^(perceptual\.)?weights\b", "--lpips-weights", str(error).rstrip("."))
        problem = problem.rpartition(": ")[0] or problem
        raise ValueError(f"{problem}: give the file of torchvision's vgg16 weights as --lpips-weights.") from None
