"""Which settings may change when a run is resumed. A setting that is not listed may not, so a new key may not either."""

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
"""Settings that no later weight depends on: a change is silent. The weights of `init_from` are loaded at step 0 only."""
WARNED = {
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
"""Settings that may change with a warning, because a run may need it: a lower learning rate after a divergence, more steps,
another precision or more micro-batches on another machine."""
WARNED_SECTIONS = ("diagnostics.", "optimizer.scale_lr")
"""Sections that only measure, or only set a learning rate."""


def changes(written: Mapping[str, Any], config: TrainConfig) -> list[str]:
    """Compare the config in a run folder with that of this call, and return a warning for each setting in WARNED.

    Raises ValueError for a change that is not allowed. Sections that neither run uses do not count.
    """
    before, now = _settings(_completed(written)), _settings(config.model_dump(mode="json"))
    warnings = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new or key in FREE:
            continue
        if key not in WARNED and not key.startswith(WARNED_SECTIONS):
            raise ValueError(
                f"{config.run.out} holds a run with {key} {old!r}, not {new!r}: use another run.out, or the value it "
                "started with."
            )
        warnings.append(f"this run started with {key} {old!r} and continues with {new!r}.")
    return warnings


def _completed(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a config with the defaults of keys that were added since."""
    try:
        return parse_train_config(written).model_dump(mode="json")
    except ValueError:  # a key was removed since
        return written


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by path, without losses that weigh 0 and the sections that only those would use."""
    losses = values.get("losses")
    losses = {name: weight for name, weight in losses.items() if weight} if isinstance(losses, Mapping) else {}
    used = {name: section for name, section in values.items() if name != ADVERSARIAL or ADVERSARIAL in losses}
    settings = dict(_flat(used | {"losses": losses, "criteria": _used_criteria(used.get("criteria"), losses)}))
    for key in ("data.train", "data.val"):
        settings[key] = _absolute(settings.get(key))
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


def _absolute(sources: Any) -> Any:
    """Return sources with absolute paths, since a folder can be written in several ways."""
    if not isinstance(sources, list) or not all(isinstance(source, Mapping) for source in sources):
        return sources
    return [
        {**source, "path": [os.path.abspath(path) for path in source["path"]]}
        if isinstance(source.get("path"), list)
        else source
        for source in sources
    ]
