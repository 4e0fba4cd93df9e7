"""Exports a tokenizer from a checkpoint of a run folder, also while the run is active."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from ..tokenizer.folder.config_json import CONFIG_FILE
from ..tokenizer.folder.decoder_digest import decoder_digest
from ..tokenizer.folder_lock import FolderBusyError, hold_folder
from ..tokenizer.model import VisualTokenizer, build_tokenizer
from .checkpoints.checkpoint import checkpoint_facts, checkpoint_step, good_checkpoint, good_checkpoints
from .checkpoints.states import ema_state
from .config import TrainConfig, parse_written_config
from .export import EXPORT, export_tokenizer, exported_step
from .warm_start import check_same_tokenizer, with_decoder

TRIES = 3
"""Attempts to read a checkpoint, since an active run may remove it meanwhile."""


class Exported(NamedTuple):
    """The result of an export."""

    folder: Path
    step: int
    """Training steps of its weights."""
    warnings: list[str]


def export_run(run: Path, out: Path | None, step: int | None) -> Exported:
    """Export the newest good checkpoint of a run folder, or that of `step`, to `out` or the run folder's own export.

    An own export of a later step than the newest checkpoint stays. Raises ValueError when `run` is not a run folder or has
    no such checkpoint, FolderBusyError when an active run would write to the same folder, and OSError.
    """
    checkpoints = run / "checkpoints"
    if not checkpoints.is_dir():
        if (run / CONFIG_FILE).is_file():
            raise ValueError(f"{run} is a tokenizer folder already: give a run folder, or the --format to write it in.")
        raise ValueError(
            f"{run} is not a run folder: it has no folder checkpoints, so give one that train-tokenizer made. A "
            "tokenizer needs --format, such as onnx."
        )
    own = run / EXPORT
    folder = own if out is None else out
    if checkpoints.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise ValueError(
            f"--out is {folder}, where the run keeps its checkpoints: give a folder outside {checkpoints.resolve()}."
        )
    with ExitStack() as stack:
        if folder.resolve() == own.resolve():  # the run folder contains it
            try:
                stack.enter_context(hold_folder(run, "export-tokenizer"))
            except FolderBusyError as error:
                raise FolderBusyError(
                    f"{error.holder} is writing to {run}: give --out to export to another folder."
                ) from None
        config, model, taken, warnings = _read(checkpoints, step)
        there = exported_step(folder, config.decoder.name if config.decoder else None)
        if out is None and step is None and there is not None and there > taken:
            stays = f"{folder} is of step {there}, later than that checkpoint: it stays."
            return Exported(folder, there, [*warnings, stays])
        export_tokenizer(folder, model, config, taken)
    return Exported(folder, taken, warnings)


def _read(checkpoints: Path, step: int | None) -> tuple[TrainConfig, VisualTokenizer, int, list[str]]:
    for attempt in range(1, TRIES + 1):
        checkpoint, warnings = _choose(checkpoints, step)
        try:
            facts = checkpoint_facts(checkpoint)
            config = parse_written_config(facts["config"], checkpoint, "export it with that one")
            state = ema_state(checkpoint)
        except FileNotFoundError:
            if attempt == TRIES:
                raise
            continue
        model = _built(config, facts)
        digest = decoder_digest(model) if config.decoder else ""
        model.load_state_dict(state["model"])
        if config.decoder:
            check_same_tokenizer(digest, model, config.model)
        return config, model, checkpoint_step(checkpoint), warnings
    raise AssertionError


def _built(config: TrainConfig, facts: Mapping[str, Any]) -> VisualTokenizer:
    if config.decoder is None:
        return build_tokenizer(config.model.architecture, config.model.quantizer)
    model = with_decoder(config.model, config.decoder)
    model.extra_decoder(config.decoder.name).scale = facts["scale"]
    return model


def _choose(folder: Path, step: int | None) -> tuple[Path, list[str]]:
    if step is None:
        checkpoint, warnings = good_checkpoint(folder)
        if checkpoint is None:
            why = f" ({warnings[0].rstrip('.')})" if warnings else ""
            raise ValueError(f"{folder} has no good checkpoint yet{why}: wait for the first, or start the run again.")
        return checkpoint, warnings
    good = {checkpoint_step(checkpoint): checkpoint for checkpoint in good_checkpoints(folder)}
    if step not in good:
        steps = ", ".join(map(str, sorted(good))) or "none"
        raise ValueError(
            f"--checkpoint is {step}, but the good checkpoints of {folder} are of steps {steps}: give one."
        )
    return good[step], []
