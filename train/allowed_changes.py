"""Which settings of a run may change when it is taken up again. What is not listed may not, so neither may new keys."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from .config import TrainConfig, parse_train_config
from .losses.criteria import CRITERIA, is_used
from .losses.terms import ADVERSARIAL

FREE = {
    "run.out",
    "run.log_every",
    "run.save_every",
    "run.validate_every",
    "run.keep_checkpoints",
    "run.trackers",
    "run.export_precision",
    "run.export_training_state",
    "data.workers",
    "data.cached_images",
    "data.on_error",
    "data.max_unreadable",
    "model.init_from",
}
"""No weight depends on these: a change says nothing. The weights of `init_from` have been taken long since."""
TOLD = {
    "run.steps",
    "run.precision",
    "run.gradient_accumulation",
    "run.channels_last",
    "run.ema_decay",
    "data.val",
    "optimizer.lr",
    "optimizer.warmup",
    "optimizer.final_lr_ratio",
    "optimizer.betas",
    "optimizer.eps",
    "optimizer.momentum",
    "optimizer.muon_rate",
    "optimizer.weight_decay",
    "optimizer.clip_norm",
    "codebook.revive_every",
    "adversarial.lr",
    "adversarial.betas",
    "adversarial.eps",
    "adversarial.clip_norm",
}
"""The run stays the same run, but goes on otherwise than it began: a change is a warning. A run that diverged needs a lower
rate, a longer one more steps, and another machine another precision or more micro-batches."""
TOLD_SECTIONS = ("diagnostics.", "optimizer.scale_lr")
"""Sections that only measure, or only set a rate."""


def changes(written: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """Compare the config that a run folder holds with that of this call, and return a warning for each change that is told.

    Raises ValueError for one that makes it another run. A section that neither run uses does not count.
    """
    before, now = _settings(_completed(written)), _settings(config.model_dump(mode="json"))
    warnings = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new or key in FREE:
            continue
        if key not in TOLD and not key.startswith(TOLD_SECTIONS):
            raise ValueError(
                f"{config.run.out} holds a run with {key} {old!r}, not {new!r}: use another run.out, or the value it "
                "began with."
            )
        warnings.append(f"this run began with {key} {old!r} and goes on with {new!r}.")
    return warnings


def _completed(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a config with the defaults of what has been added since."""
    try:
        return parse_train_config(written).model_dump(mode="json")
    except ValueError:  # a key has gone since
        return written


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by path, without losses of no weight and the sections that only they would use."""
    losses = values.get("losses")
    losses = {name: weight for name, weight in losses.items() if weight} if isinstance(losses, Mapping) else {}
    used = {name: section for name, section in values.items() if name != ADVERSARIAL or ADVERSARIAL in losses}
    settings = dict(_flat(used | {"losses": losses, "criteria": _used_criteria(used.get("criteria"), losses)}))
    for key in ("data.train", "data.val"):
        settings[key] = _places(settings.get(key))
    return settings


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _used_criteria(sections: Any, losses: Mapping[str, float]) -> dict[str, Any]:
    if not isinstance(sections, Mapping):
        return {}
    return {name: each for name, each in sections.items() if name not in CRITERIA or is_used(CRITERIA[name], losses)}


def _places(sources: Any) -> Any:
    """Return sources with absolute paths, for one folder may be written in two ways."""
    if not isinstance(sources, list) or not all(isinstance(source, Mapping) for source in sources):
        return sources
    return [
        {**source, "path": [os.path.abspath(path) for path in source["path"]]}
        if isinstance(source.get("path"), list)
        else source
        for source in sources
    ]
