"""The training curves of extra decoders, from the configs and logs of their run folders."""

import math
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from vistok.train.config import CONFIG_FILE, TrainConfig, parse_written_config
from vistok.train.config_file import yaml_values
from vistok.train.logs.log_file import read_log
from vistok.train.logs.run_log import METRICS_FILE

CURVES = (
    "loss/*",
    "discriminator/loss",
    "fake/loss",
    "matching/distance",
    "spread/seeds",
    "spread/residual",
    "validation/psnr",
)
"""Patterns of the log paths that are kept, in the order of the panels."""
MOST_POINTS = 100
DIGITS = 4
"""Significant digits of a value."""


class NamedRun(NamedTuple):
    """A run folder, and what its curves are called."""

    label: str
    folder: Path


def parse_runs(texts: list[str]) -> list[NamedRun]:
    """Return the runs of LABEL=RUN_FOLDER; raise ValueError for another form or a label that is there twice."""
    runs: list[NamedRun] = []
    for text in texts:
        label, _, folder = text.partition("=")
        if not label or not folder:
            raise ValueError(f"{text!r} names no run: give LABEL=RUN_FOLDER.")
        if label in {run.label for run in runs}:
            raise ValueError(f"Two runs are called {label!r}: give each a LABEL of its own.")
        runs.append(NamedRun(label, Path(folder)))
    return runs


def gather(folder: Path, warn: list[str]) -> dict[str, Any]:
    """Return the settings and curves of a run, as JSON has them; what is wrong with lines of its log goes into `warn`.

    `images` counts the training crops up to `step`, the last in the log. Raises ValueError unless the run trains an extra
    decoder and has logged a step.
    """
    config = config_of(folder)
    lines, problems = read_log(folder / METRICS_FILE)
    warn += problems
    if not lines:
        raise ValueError(f"{folder / METRICS_FILE} has no line yet: name a run that has logged a step.")
    step = lines[-1]["step"]
    curves = {path: curve(lines, path) for path in kept_paths(lines)}
    return {"config": essentials(config), "step": step, "images": step * config.data.batch_size, "curves": curves}


def config_of(folder: Path) -> TrainConfig:
    """Return the config of a run that trains an extra decoder; raise ValueError when there is none."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{path} does not exist: name a run folder, such as OUT/stages/flow of finetune-tokenizer.")
    try:
        values = yaml_values(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not YAML ({error}): name another run folder.") from None
    config = parse_written_config(values, path, "gather its curves with that one")
    if config.decoder is None:
        raise ValueError(f"{folder} trains no extra decoder: name a run whose config has a section decoder.")
    return config


def essentials(config: TrainConfig) -> dict[str, Any]:
    """Return what decides the curves of a run, without paths."""
    assert config.decoder is not None
    return {
        "recipe": config.decoder.recipe.model_dump(mode="json", exclude={"teacher"}),
        "network": config.decoder.network.model_dump(mode="json"),
        "losses": dict(config.losses),
        "steps": config.run.steps,
        "batch_size": config.data.batch_size,
        "crop": config.data.size,
        "lr": config.optimizer.lr,
    }


def kept_paths(lines: list[dict[str, Any]]) -> list[str]:
    """Return the log paths that have a curve, in the order of CURVES."""
    paths = sorted({path for line in lines for path in line})
    return [path for pattern in CURVES for path in paths if fnmatchcase(path, pattern)]


def curve(lines: list[dict[str, Any]], path: str) -> dict[str, list[Any]]:
    """Return the steps and values of a scalar; a value that is not finite is null."""
    points = thinned([(line["step"], line[path]) for line in lines if path in line])
    return {"steps": [step for step, _ in points], "values": [rounded(value) for _, value in points]}


def thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most MOST_POINTS points, evenly spaced among those there are, with the first and the last."""
    last = len(points) - 1
    if last < MOST_POINTS:
        return points
    return [points[round(index * last / (MOST_POINTS - 1))] for index in range(MOST_POINTS)]


def rounded(value: float) -> float | None:
    """Return a value with few significant digits, and None for one that is not finite."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
