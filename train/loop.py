"""The training loop: config -> data -> model -> losses -> optimizer -> monitor -> checkpoint."""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ..cli.interruption import delay_signals
from ..cli.progress import ProgressLine
from ..images.preprocessing import to_pixels
from ..tokenizer.quantizers import set_training_step
from ..tokenizer.shapes import Pixels
from .checkpoints.checkpoint import save_checkpoint
from .config import CONFIG_FILE, TrainConfig, write_config
from .data.batches import training_batches
from .data.changed_images import IMAGES_FILE, record_images
from .data.read_images import ImageReader
from .data.source_images import SourceImages
from .decoration import decorating
from .export import EXPORT
from .launcher import hold_run_folder
from .logs.run_log import RunLog
from .logs.trackers import begin_trackers, end_trackers, quiet_tracker_threads
from .logs.verbosity import VERBOSE, Verbosity
from .optimizer.routing import routing_table
from .optimizer.schedule import rate_share
from .outcome import write_last_outcome, write_outcome
from .report import SAMPLES, write_samples
from .resume import resume
from .run import Run, prepare_run
from .soundness import check_losses, check_weights
from .step import loss_alone, tokenizer_step
from .validation import Validation


def train(config: TrainConfig, verbosity: Verbosity = VERBOSE, images: SourceImages | None = None) -> Path:
    """Train as `config` says and return the exported tokenizer folder; go on where the run folder left off.

    An interrupted run, and one that fails, leaves the tokenizer and the report of the step that it reached. Raises
    FolderBusyError when another command trains in the run folder, ValueError for what a user can change, WorkFailedError
    when the run diverges or too many images cannot be read, and OSError. With
    `images` the images are those that it has listed already.
    """
    with hold_run_folder(config.run.out), quiet_tracker_threads():
        images = images or SourceImages()
        return _train(prepare_run(config, images), verbosity, images)


def _train(run: Run, verbosity: Verbosity, images: SourceImages) -> Path:
    config = run.config
    start, logs, warnings = resume(run)
    warnings += begin_trackers(run.accelerator, config.run.trackers)
    if run.accelerator.is_main_process:
        warnings += record_images(config.run.out / IMAGES_FILE, chain.from_iterable(run.crops.sources))
    log = RunLog(run.accelerator, config.run.out, start, config.run.steps, config.data.batch_size, verbosity)
    for warning in warnings + run.monitor.notes():
        log.warn(warning)
    log.tell_start()
    log.take_up(logs, later=config.run.steps if start else config.run.save_every)
    if start == 0:
        _initialise_codes(run, log.is_quiet)
    validation = _validation(run, log, images)
    log.show_routing(routing_table(run.claims, run.optimizer_config))
    if run.accelerator.is_main_process:
        write_config(config, config.run.out / CONFIG_FILE)
    with log:
        try:
            _steps(run, start, log, validation)
        # Work that failed, a full GPU, a process that has gone, a disk or a memory that refuses.
        except (KeyboardInterrupt, RuntimeError, OSError, MemoryError) as error:
            # A launcher passes one signal on several times.
            with delay_signals() if run.accelerator.num_processes > 1 else nullcontext():
                write_last_outcome(run, validation, log.warn, error)
            raise
    if start == config.run.steps:
        write_outcome(run, validation, log.warn)
    run.accelerator.wait_for_everyone()
    for warning in end_trackers(run.accelerator):
        log.warn(warning)
    run.accelerator.end_training()
    return config.run.out / EXPORT


def _validation(run: Run, log: RunLog, images: SourceImages) -> Validation:
    data = run.config.data
    entries = [entry for source in data.val for entry in images.of(source)]
    reader = ImageReader(run.config.model.preprocessing, run.model.downsample, max(1, data.workers))
    return Validation(entries, reader, data.unreadable_limit, run.accelerator, log.warn)


@torch.no_grad()
def _initialise_codes(run: Run, quiet: bool) -> None:
    with ProgressLine("rounds of k-means", run.care.rounds, quiet or not run.care.rounds) as progress:
        latents = (run.model.encode_latent(pixels) for pixels, _ in _batches(run, 0))
        run.care.initialize(latents, progress.update)


def _steps(run: Run, start: int, log: RunLog, validation: Validation) -> None:
    config = run.config.run
    clock = time.perf_counter()
    for step, (pixels, unreadable) in enumerate(_batches(run, start), start + 1):
        is_logged, is_validated, is_saved = (
            step % every == 0 or step == config.steps
            for every in (config.log_every, config.validate_every, config.save_every)
        )
        share = rate_share(step, config.steps, run.optimizer_config)
        micro_batches = list(pixels.chunk(config.gradient_accumulation))

        set_training_step(run.model, step - 1)
        result = tokenizer_step(run, step, micro_batches)
        run.divergence.observe(result.loss, step)
        if is_logged or is_validated or is_saved:
            check_losses(run)
        seen = result.seen._replace(tokens=run.divergence.without_nonsense(result.seen.tokens))
        run.diagnostics.before_step(step, is_logged)
        run.diagnostics.look_at_curvature(step, pixels, partial(loss_alone, run, step), run.networks)
        scalars = {**result.scalars, "optimizer/gradient_norm": _optimizer_step(run, share)}
        measured = run.diagnostics.after_step(step, is_logged)
        if run.adversary is not None:
            scalars |= run.adversary.learn(step, micro_batches, result.reconstructions, share)
        run.monitor.observe(seen, run.care.observe(step, seen, run.optimizer))
        run.window.add(scalars)
        run.unreadable.observe(unreadable)
        with delay_signals():
            run.average.update_parameters(run.model)
        log.advance(step)
        if is_validated or is_saved:
            check_weights(run, step)  # what is not finite is not validated, exported or kept

        if is_logged:
            steps, rate = run.window.steps, run.optimizer_config.lr * share
            window = run.monitor.summarise(step, seen)
            speed = steps * run.config.data.batch_size / (time.perf_counter() - clock)
            lost = run.unreadable.summarise(step)
            values = run.window.summarise() | {"optimizer/lr": rate} | measured | window.values | lost.values
            for warning in lost.warnings:
                log.warn(warning)
            log.write(step, values | {"time/images_per_second": speed}, window.alarms)
            clock = time.perf_counter()
        if validation and is_validated:
            log.advance(step, "validation")
            log.write(step, validation.measure(run.average.module))
            with decorating("the sheet of samples", log.warn):
                write_samples(run, step, validation.samples(SAMPLES))
        if is_saved:
            facts = {"config": run.config.model_dump(mode="json"), "logs": log.flush()}
            with delay_signals():
                save_checkpoint(run.accelerator, config.out / "checkpoints", step, config.keep_checkpoints, facts)
        # After the checkpoint: a tokenizer that has more steps behind it than the first checkpoint is never without one.
        if (is_validated if validation else is_saved) or step == config.steps:
            write_outcome(run, validation, log.warn)
        if is_validated or is_saved:
            clock = time.perf_counter()  # the speed is that of training alone


def _batches(run: Run, start: int) -> Iterator[tuple[Pixels, list[str]]]:
    config, accelerator = run.config, run.accelerator
    batches = training_batches(
        run.crops,
        start,
        config.run.steps,
        accelerator.process_index,
        accelerator.num_processes,
        config.run.gradient_accumulation,
    )
    layout = torch.channels_last if config.run.channels_last else torch.contiguous_format
    for crops, unreadable in batches:
        yield to_pixels(crops.to(accelerator.device)).contiguous(memory_format=layout), unreadable


def _optimizer_step(run: Run, rate_share: float) -> Tensor:
    """Clip the gradient, take the step, and return the norm that the gradient had."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.optimizer_config.lr * rate_share
    limit = run.optimizer_config.clip_norm
    run.accelerator.unscale_gradients(run.optimizer)
    parameters = [parameter for group in run.optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf if limit is None else limit)
    run.optimizer.step()
    return norm
