"""The training loop: config -> data -> model -> losses -> optimizer -> codebook -> checkpoint."""

import time
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import torch

from ..cli.interruption import delay_signals
from ..cli.progress import ProgressLine
from ..tokenizer.decoders.base import PLAIN
from ..tokenizer.files import write_whole
from .checkpoints.checkpoint import save_checkpoint
from .config import CONFIG_FILE, TrainConfig
from .config_file import config_text
from .data.changed_images import IMAGES_FILE, record_images
from .data.read_images import ImageReader
from .data.source_images import SourceImages
from .export import EXPORT
from .finite_check import check_weights
from .launcher import hold_run_folder
from .logs.run_log import VERBOSE, RunLog, Verbosity
from .logs.trackers import end_trackers, quiet_tracker_threads, start_trackers
from .outputs import best_effort, write_final_outputs, write_outputs
from .resume import resume
from .run import Run
from .run_parts import compiled_at, trained_networks
from .samples import write_samples
from .speed import uncompiled
from .step import TrainStepResult, train_step
from .validation import Validation


def train(config: TrainConfig, verbosity: Verbosity = VERBOSE, images: SourceImages | None = None) -> Path:
    """Train as `config` says, or resume the run in its folder, and return the folder of the exported tokenizer.

    A run that fails or is interrupted leaves the tokenizer and the report of the step that it reached. Images that
    `images` has listed are not listed again. Raises FolderBusyError when another command trains in the run folder,
    ValueError for what a user can change, WorkFailedError when the run diverges or too many images cannot be read, and
    OSError.
    """
    with hold_run_folder(config.run.out), quiet_tracker_threads():
        images = images or SourceImages()
        return _train(Run(config, images), verbosity, images)


def _train(run: Run, verbosity: Verbosity, images: SourceImages) -> Path:
    config = run.config
    start, logs, warnings = resume(run)
    warnings += start_trackers(run.accelerator, config.run.trackers)
    if run.accelerator.is_main_process:
        warnings += record_images(config.run.out / IMAGES_FILE, chain.from_iterable(run.crops.sources))
    log = RunLog(run.accelerator, config.run.out, start, config.run.steps, config.data.batch_size, verbosity)
    for warning in warnings + run.monitor.notes():
        log.warn(warning)
    log.print_start()
    log.restore(logs, later=config.run.steps if start else config.run.save_every)
    if start == 0:
        _initialize_codes(run, log.is_quiet)
    if run.scale and not run.scale.is_known:
        run.scale.measure(run.model, (pixels for pixels, _ in run.batches(0)), run.accelerator)
    validation = _validation(run, images, log)
    log.print_routing(run.routing)
    if run.accelerator.is_main_process:
        write_whole(config.run.out / CONFIG_FILE, config_text(config).encode())
    with log.progress:
        try:
            _steps(run, start, log, validation)
        # A full GPU, a lost process, a failing disk, too little memory.
        except (KeyboardInterrupt, RuntimeError, OSError, MemoryError) as error:
            # A launcher passes one signal on several times.
            with delay_signals() if run.accelerator.num_processes > 1 else nullcontext():
                write_final_outputs(run, validation, log.warn, error)
            raise
    if start == config.run.steps:
        write_outputs(run, validation, log.warn)
    run.accelerator.wait_for_everyone()
    for warning in end_trackers(run.accelerator):
        log.warn(warning)
    run.accelerator.end_training()
    return config.run.out / EXPORT


def _validation(run: Run, images: SourceImages, log: RunLog) -> Validation:
    data = run.config.data
    entries = [entry for source in data.val for entry in images.of(source)]
    reader = ImageReader(run.config.model.preprocessing, run.model.downsample, max(1, data.workers))
    return Validation(entries, reader, data.unreadable_limit, run.accelerator, log.warn, run.decoder_name or PLAIN)


@torch.no_grad()
def _initialize_codes(run: Run, quiet: bool) -> None:
    rounds = run.maintenance.rounds
    with uncompiled(), ProgressLine("rounds of k-means", rounds, quiet or not rounds) as progress:
        latents = (run.model.encode_latent(pixels) for pixels, _ in run.batches(0))
        run.maintenance.initialize(latents, progress.update)


def _steps(run: Run, start: int, log: RunLog, validation: Validation) -> None:
    config = run.config.run
    clock = time.perf_counter()
    for step, (images, unreadable) in enumerate(run.batches(start), start + 1):
        is_logged, is_validated, is_saved = (
            step % every == 0 or step == config.steps
            for every in (config.log_every, config.validate_every, config.save_every)
        )
        began = time.perf_counter()
        result = train_step(run, step, images, is_logged, is_checked=is_logged or is_validated or is_saved)
        if compiled := compiled_at(config.compile, run.opponent, step, start):
            log.say(f"step {step} took {time.perf_counter() - began:.0f} s, in which {compiled} compiled.")
        run.unreadable.observe(unreadable)
        log.advance(step)
        if is_validated or is_saved:  # before anything is exported or kept
            networks = trained_networks(run.model, run.recipe, run.opponent)
            check_weights(step, networks, config.out / "checkpoints")
        if is_logged:
            clock = _write_log(run, step, log, result, clock)
        if validation and is_validated:
            log.advance(step, "validation")
            log.write(step, validation.measure(run.ema.model))
            with best_effort("the sheet of samples", log.warn):
                write_samples(run, step, validation)
        if is_saved:
            facts = {"config": run.config.model_dump(mode="json"), "logs": log.flush()} | run.facts
            with delay_signals():
                save_checkpoint(run.accelerator, config.out / "checkpoints", step, config.keep_checkpoints, facts)
        # After the checkpoint, so that an export of the first checkpoint's step or later always has a checkpoint.
        if (is_validated if validation else is_saved) or step == config.steps:
            write_outputs(run, validation, log.warn)
        if is_validated or is_saved:
            clock = time.perf_counter()  # the speed is that of training alone


def _write_log(run: Run, step: int, log: RunLog, result: TrainStepResult, clock: float) -> float:
    """Write a line of the log, and return the time at its end; `clock` is that at the end of the line before."""
    steps = run.means.steps
    skipped = [check.summarise(steps) for check in run.finite_checks.values()]
    codebook = run.monitor.summarise(step, result.seen)
    speed = steps * run.config.data.batch_size / (time.perf_counter() - clock)
    lost = run.unreadable.summarise(step)
    values = run.means.summarise() | {"optimizer/lr": result.lr} | result.measured | codebook.values | lost.values
    values |= {name: count for counts, _ in skipped for name, count in counts.items()}
    for warning in [*lost.warnings, *(warning for _, warnings in skipped for warning in warnings)]:
        log.warn(warning)
    log.write(step, values | {"time/images_per_second": speed}, [*codebook.alarms, *result.alarms])
    return time.perf_counter()
