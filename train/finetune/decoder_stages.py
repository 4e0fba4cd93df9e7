"""The stages of an extra decoder's fine-tuning: a run for each recipe that leads to it."""

from pathlib import Path
from typing import Any

from ...tokenizer.folder.save_load import load_tokenizer
from ..config import TrainConfig, parse_train_config
from ..export import EXPORT
from ..loop import train
from .decoder_config import NETWORKS, RESIDUAL, GenerativeConfig, RecipeName
from .prepare import Finetuning, few
from .stage_runs import data_section, is_done, run_section
from .stored_config import STAGES_FOLDER

TEACHER = "flow"
"""The stage whose decoder teaches those after it."""
CHECKS = 6
"""Validations in the course of a stage."""


def run_decoder_stages(run: Finetuning) -> Path:
    """Run the stages that are not done, and return the folder of the tokenizer with the decoder of the last one."""
    generative = run.config.generative
    assert generative is not None
    stages, folder = run.config.out / STAGES_FOLDER, run.folder
    for recipe, stage in generative.stages.items():
        out = stages / recipe
        if not is_done(out, stage.steps, generative.name):
            run.tell(f"stage {recipe}: training the decoder {generative.name} for {stage.steps} steps")
            train(_train_config(run, generative, recipe, folder, out), run.verbosity, run.images)
        folder = out / EXPORT
    return folder


def _train_config(
    run: Finetuning, generative: GenerativeConfig, recipe: RecipeName, start: Path, out: Path
) -> TrainConfig:
    stage, config = generative.stages[recipe], load_tokenizer(start).config
    steps, losses = stage.steps, generative.losses(recipe)
    data, side = data_section(run, load_tokenizer(start)), config.preprocessing.side
    base = run_section(run, out, steps)
    every = base["log_every"]
    values: dict[str, Any] = {
        "run": base | {"validate_every": max(1, steps // CHECKS // every) * every},
        "data": data | {"val": [few(run, generative.validated).model_dump()], "short_sides": side and [side]},
        "model": {
            **config.model_dump(include={"architecture", "quantizer", "preprocessing"}),
            "train": [],
            "init_from": start,
        },
        "losses": losses,
        "optimizer": {"name": "muon", "lr": stage.lr, "warmup": min(100, steps // 10)},
        "decoder": {
            "name": generative.name,
            "network": generative.network or {"name": NETWORKS.get(recipe, RESIDUAL)},
            "recipe": {**_teacher(run, recipe), **stage.recipe, "name": recipe},
        },
    }
    if losses.get("perceptual") and generative.perceptual:
        values["criteria"] = {"perceptual": generative.perceptual.model_dump()}
    if losses.get("adversarial"):
        values["adversarial"] = generative.adversarial.model_dump()
    return parse_train_config(values)


def _teacher(run: Finetuning, recipe: RecipeName) -> dict[str, Any]:
    return {"teacher": run.config.out / STAGES_FOLDER / TEACHER / EXPORT} if recipe in ("distill", "fgm") else {}
