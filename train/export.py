"""Export to a tokenizer folder, the only thing that training passes to inference."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..tokenizer.files import aside_folder, replace_folder, restore_folder
from ..tokenizer.folder.config_json import CONFIG_FILE, Origin, read_tokenizer_config
from ..tokenizer.folder.decoders import DECODERS_FOLDER, decoder_names, save_decoder
from ..tokenizer.folder.save_load import CARD_FILE, WEIGHTS_FILE, save_tokenizer
from ..tokenizer.model import VisualTokenizer
from .config import TrainConfig

EXPORT = "export"
"""Folder of the exported tokenizer in a run folder."""
FILES = {CARD_FILE, CONFIG_FILE, WEIGHTS_FILE}
STEP = "step"
"""Key of the number of training steps in the header of the weight file."""


def export_tokenizer(folder: Path, model: VisualTokenizer, config: TrainConfig, step: int) -> None:
    """Write the weights after `step` steps as a tokenizer folder, with a model card; see `export_with`.

    Where they started from a tokenizer that was imported, and its folder is still there, they keep its origin. A run of an
    extra decoder writes the folder that it started from, byte for byte, with that decoder.
    """
    if config.decoder:
        name = config.decoder.name
        export_with(lambda target: _save_with_decoder(target, name, model, config, step), folder)
        return
    settings = config.model.architecture, config.model.preprocessing, _card(config, step)
    dtype, whole = getattr(torch, config.run.export_precision), config.run.export_training_state
    origin = _origin(config.model.init_from)
    export_with(
        lambda target: save_tokenizer(target, model, *settings, dtype, whole, {STEP: str(step)}, origin), folder
    )


def _save_with_decoder(target: Path, name: str, model: VisualTokenizer, config: TrainConfig, step: int) -> None:
    assert config.model.init_from is not None
    copy_tokenizer(config.model.init_from, target, without=name)
    dtype, decoder = getattr(torch, config.run.export_precision), model.extra_decoder(name)
    save_decoder(target, name, decoder, model, dtype, {STEP: str(step)})


def copy_tokenizer(source: Path, target: Path, without: str = "") -> None:
    """Copy the files of a tokenizer folder with its extra decoders, except for one; raise OSError."""
    for file in sorted(FILES):
        if (source / file).is_file():
            shutil.copyfile(source / file, target / file)
    _copy_decoders(source, target, set(decoder_names(source)) - {without})


def _copy_decoders(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        place = Path(DECODERS_FOLDER, name)
        shutil.copytree(source / place, target / place, copy_function=shutil.copyfile, dirs_exist_ok=True)


def _origin(start: Path | None) -> Origin | None:
    try:
        origin = read_tokenizer_config(start).origin if start else None
    except ValueError:
        return None
    return origin.of_derived() if origin else None


def export_with(save: Callable[[Path], object], folder: Path) -> None:
    """Let `save` write a tokenizer into a temporary folder, and replace `folder` by it as a whole; raise OSError.

    If the process is killed at any moment, the old or the new tokenizer is there. Files of others in `folder` stay, and so do
    decoders that `save` does not write.
    """
    folder = folder.resolve()  # replace the target of a link, not the link
    folder.parent.mkdir(parents=True, exist_ok=True)
    restore_folder(folder)
    if folder.is_dir() and {path.name for path in folder.iterdir()} - FILES - {DECODERS_FOLDER}:
        save(folder)
        return
    with aside_folder(folder) as aside:
        try:
            save(aside)
            _copy_decoders(folder, aside, set(decoder_names(folder)) - set(decoder_names(aside)))
            replace_folder(aside, folder)
        except OSError as error:
            if error.filename and Path(error.filename).parent == aside:
                error.filename = str(folder / Path(error.filename).name)
            raise


def exported_step(folder: Path, decoder: str | None = None) -> int | None:
    """Return the number of training steps of a tokenizer folder, or of an extra decoder in it.

    None if it is none, or does not say.
    """
    if not (folder / CONFIG_FILE).is_file():
        return None
    place = folder / DECODERS_FOLDER / decoder if decoder else folder
    try:
        with safe_open(place / WEIGHTS_FILE, framework="pt") as file:
            step = (file.metadata() or {}).get(STEP, "")
    except (SafetensorError, OSError):
        return None
    return int(step) if step.isdecimal() else None


def _card(config: TrainConfig, step: int) -> str:
    run, data = config.run, config.data
    rate = config.optimizer.at_batch_size(data.batch_size).lr
    sources = "\n".join(f"- {source.where}, weight {source.weight:g}" for source in data.train)
    steps = f"{step} steps" if step == run.steps else f"{step} of {run.steps} steps"
    return f"""# {run.out.resolve().name}

A visual tokenizer: {config.model.quantizer.name} quantizer, {config.model.architecture.coverage}.

Trained for {steps} on batches of {data.batch_size} crops of {data.size} x {data.size} pixels from

{sources}

with {config.optimizer.name} at a peak learning rate of {rate:g}; losses {config.losses}.
"""
