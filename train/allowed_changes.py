"""Which settings may change when a run is resumed. A setting that is not listed may not, so a new key may not either."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from .config import TrainConfig
from .losses.criteria import is_used
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
    "run.max_skipped_steps",
    "data.workers",
    "data.cached_images",
    "data.on_error",
    "data.max_unreadable",
    "model.init_from",
    "decoder.recipe.teacher",
}
"""Settings that no later weight depends on: a change is silent. The weights of `init_from` and of a teacher
are loaded at step 0 only."""
WARNED = {
    "run.steps",
    "run.precision",
    "run.gradient_accumulation",
    "run.memory_format",
    "run.compile",
    "run.activation_checkpointing",
    "run.ema_decay",
    "data.val",
    "optimizer.lr",
    "optimizer.warmup",
    "optimizer.final_lr_ratio",
    "optimizer.betas",
    "optimizer.eps",
    "optimizer.momentum",
    "optimizer.orthogonalization",
    "optimizer.muon_rate",
    "optimizer.weight_decay",
    "optimizer.clip_norm",
    "codebook.revive_every",
    "criteria.latent.tokenizer",
    "adversarial.lr",
    "adversarial.betas",
    "adversarial.eps",
    "adversarial.clip_norm",
    "decoder.recipe.fake_lr",
    "decoder.recipe.steps",
}
"""Settings that may change with a warning, because a run may need it: a lower learning rate after a divergence, more steps,
another precision or more micro-batches on another machine."""
WARNED_SECTIONS = ("diagnostics.", "optimizer.scale_lr")
"""Sections that only measure, or only set a learning rate."""


def changes(before: TrainConfig, now: TrainConfig) -> list[str]:
    """Compare the config that a run began with and that of this call; return a warning for each change in WARNED.

    Raises ValueError for a change that is not allowed. Sections that neither run uses do not count.
    """
    old, new = _settings(before), _settings(now)
    warnings = []
    for key in sorted({*old, *new} - FREE):
        first, second = old.get(key), new.get(key)
        if first == second:
            continue
        if key not in WARNED and not key.startswith(WARNED_SECTIONS):
            raise ValueError(
                f"{now.run.out} holds a run with {key} {first!r}, not {second!r}: use another run.out, or the value it "
                "started with."
            )
        warnings.append(f"this run started with {key} {first!r} and continues with {second!r}.")
    return warnings


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return the settings by path, without losses that weigh 0 and the sections that only those would use."""
    values = config.model_dump(mode="json")
    losses = values["losses"] = {name: weight for name, weight in config.losses.items() if weight}
    used = [name for name, criterion in config.criteria.items() if is_used(type(criterion), losses)]
    values["criteria"] = {name: values["criteria"][name] for name in used}
    if ADVERSARIAL not in losses:
        del values["adversarial"]
    for source in values["data"]["train"] + values["data"]["val"]:  # a folder can be written in several ways
        source["path"] = [os.path.abspath(path) for path in source["path"]]
    return dict(_flat(values))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
