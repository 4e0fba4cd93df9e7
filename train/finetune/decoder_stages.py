"""The stages of an extra decoder's fine-tuning: a run for each recipe that leads to it."""

from pathlib import Path
from typing import Any

import torch

from ...tokenizer.config import parse_choice
from ..config import TrainConfig, parse_train_config
from ..export import EXPORT, exported_step
from ..generative.recipes import RECIPES
from ..generative.teacher import load_teacher
from ..loop import train
from ..losses.criteria import build_criteria
from ..losses.terms import check_loss_names
from .decoder_checks import check_same_tokenizer, check_start
from .decoder_config import NETWORKS, RESIDUAL, GenerativeConfig, RecipeName
from .decoder_judge import check_measurable
from .prepare import Finetuning, few
from .stage_runs import data_section, is_done, run_section
from .stored_config import STAGES_FOLDER, store_config

TEACHER = "flow"
"""The stage whose decoder teaches those after it."""
CHECKS = 6
"""Validations in the course of a stage."""


def run_decoder_stages(run: Finetuning) -> Path:
    """Run the stages that are not done, and return the folder of the tokenizer with the decoder of the last one.

    Raises ValueError, before anything is trained or written, for what is wrong with any of them.
    """
    generative = run.config.generative
    assert generative is not None
    configs = _stage_configs(run, generative)
    check_measurable(generative, run.before.config.preprocessing.side)
    left = _left_to_train(run, generative, configs)
    store_config(run.config)
    for recipe, config in left.items():
        run.tell(f"stage {recipe}: training the decoder {generative.name} for {config.run.steps} steps")
        train(config, run.verbosity, run.images)
    *_, last = configs.values()
    return last.run.out / EXPORT


def _stage_configs(run: Finetuning, generative: GenerativeConfig) -> dict[RecipeName, TrainConfig]:
    """Return the config of each stage, which starts from the result of the one before; raise ValueError as its run would."""
    stages, folder = run.config.out / STAGES_FOLDER, run.folder
    configs = {}
    for recipe in generative.stages:
        configs[recipe] = _train_config(run, generative, recipe, folder, stages / recipe)
        _check_losses(recipe, configs[recipe])
        if teacher := generative.stages[recipe].recipe.get("teacher"):
            load_teacher(Path(teacher), generative.name, run.before.model)
        folder = stages / recipe / EXPORT
    return configs


def _left_to_train(
    run: Finetuning, generative: GenerativeConfig, configs: dict[RecipeName, TrainConfig]
) -> dict[RecipeName, TrainConfig]:
    """Return the stages that are not done; raise ValueError when the tokenizer is another than theirs, or cannot start one."""
    for config in configs.values():
        if exported_step(config.run.out / EXPORT, generative.name) is not None:
            check_same_tokenizer(run, config.run.out / EXPORT)
    left = {
        recipe: config
        for recipe, config in configs.items()
        if not is_done(config.run.out, config.run.steps, generative.name)
    }
    for config in left.values():
        if config.decoder and config.model.init_from == run.folder:
            check_start(run, config.decoder)
    return left


def _check_losses(recipe: RecipeName, config: TrainConfig) -> None:
    """Raise ValueError, as the run of a stage would, for weights and networks of its losses."""
    try:
        check_loss_names(config.losses, RECIPES[recipe].loss_names, config.criteria)
    except ValueError as error:
        raise ValueError(f"generative.{recipe}: {error}") from None
    build_criteria(config.criteria, config.losses, torch.device("cpu"))


def _train_config(
    run: Finetuning, generative: GenerativeConfig, recipe: RecipeName, start: Path, out: Path
) -> TrainConfig:
    stage, config = generative.stages[recipe], run.before.config
    steps, losses = stage.steps, generative.losses(recipe)
    data, side = data_section(run, run.before), config.preprocessing.side
    base = run_section(run, out, steps)
    every = base["log_every"]
    recipe_keys = {**_teacher(run, recipe), **stage.recipe, "name": recipe}
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
            "recipe": parse_choice(RECIPES, recipe_keys, f"generative.{recipe}.recipe").model_dump(),
        },
    }
    criteria = {"latent": {"tokenizer": str(run.folder)}}
    if generative.perceptual:
        criteria["perceptual"] = generative.perceptual.model_dump()
    values["criteria"] = {name: section for name, section in criteria.items() if losses.get(name)}
    if losses.get("adversarial"):
        values["adversarial"] = generative.adversarial.model_dump()
    return parse_train_config(values)


def _teacher(run: Finetuning, recipe: RecipeName) -> dict[str, Any]:
    return {"teacher": run.config.out / STAGES_FOLDER / TEACHER / EXPORT} if recipe in ("distill", "fgm") else {}
