"""The training loop: config -> data -> model -> losses -> optimizer -> monitor -> checkpoint."""

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..images.preprocessing import to_pixels
from ..tokenizer.shapes import Pixels
from .checkpoint import checkpoint_step, good_checkpoint, newest_checkpoint, save_checkpoint
from .config import TrainConfig, write_config
from .data import training_batches
from .export import export_tokenizer
from .log import RunLog
from .optimizer import routing_table
from .run import Run, prepare_run
from .run_report import write_run_report, write_samples
from .schedule import rate_share
from .step import tokenizer_step
from .validate import validate, validation_pictures


def train(config: TrainConfig) -> Path:
    """Train as `config` says and return the exported tokenizer folder; go on where the run folder left off."""
    run = prepare_run(config)
    start, warnings = _resume(run)
    log = RunLog(run.accelerator, config.run.out, start, config.run.steps)
    for warning in warnings:
        log.warn(warning)
    if start == 0:
        with torch.no_grad():
            run.care.initialise(run.model.encode_latent(pixels) for pixels in _pixels(run, 0))
    if run.accelerator.is_main_process:
        write_config(config, config.run.out / "config.yaml")
    log.show_routing(routing_table(run.claims, config.optimizer))
    pictures = validation_pictures(config.data.val, config.model.preprocessing, run.model.downsample)

    clock = time.perf_counter()
    for step, pixels in enumerate(_pixels(run, start), start + 1):
        share = rate_share(step, config.run.steps, config.optimizer)
        _set_rate(run, config.optimizer.lr * share)
        micro_batches = list(pixels.chunk(config.run.micro_batches))
        result = tokenizer_step(run, step, micro_batches)
        _check_finite(result.loss, step, run)
        norm = _clip(run)
        run.optimizer.step()
        scalars = {**result.scalars, "optimizer/gradient_norm": norm}
        if run.adversary is not None:
            scalars |= run.adversary.learn(step, micro_batches, result.reconstructions, share)
        run.monitor.observe(result.seen, run.care.observe(step, result.seen, run.optimizer))
        run.average.update_parameters(run.model)

        is_last = step == config.run.steps
        if step % config.run.log_every == 0 or is_last:
            values = _mean_over_processes(run, scalars) | {"optimizer/lr": config.optimizer.lr * share}
            window = run.monitor.summarise(step, result.seen)
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            speed = {"time/pictures_per_second": config.data.batch_size * config.run.log_every / seconds}
            log.write(step, values | window.values | speed, window.alarms)
        if pictures and (step % config.run.validate_every == 0 or is_last):
            log.write(step, validate(run.average.module, pictures, run.accelerator))
            write_samples(run, step, pictures)
        if step % config.run.save_every == 0 or is_last:
            save_checkpoint(run.accelerator, config.run.out / "checkpoints", step, config.run.keep_checkpoints)
    if run.accelerator.is_main_process:
        export_tokenizer(config.run.out / "export", run.average.module, config)
        write_run_report(run, pictures)
    run.accelerator.wait_for_everyone()
    run.accelerator.end_training()
    return config.run.out / "export"


def _resume(run: Run) -> tuple[int, list[str]]:
    checkpoint, warnings = good_checkpoint(run.config.run.out / "checkpoints")
    if checkpoint is None:
        return 0, warnings
    run.accelerator.load_state(str(checkpoint))
    return checkpoint_step(checkpoint), warnings


def _pixels(run: Run, start: int) -> Iterator[Pixels]:
    config, accelerator = run.config, run.accelerator
    batches = training_batches(
        config.data,
        config.run.seed,
        start,
        config.run.steps,
        accelerator.process_index,
        accelerator.num_processes,
        config.run.micro_batches,
    )
    layout = torch.channels_last if config.run.channels_last else torch.contiguous_format
    for crops in batches:
        yield to_pixels(crops.to(accelerator.device)).contiguous(memory_format=layout)


def _set_rate(run: Run, rate: float) -> None:
    for group in run.optimizer.param_groups:
        group["lr"] = rate


def _clip(run: Run) -> Tensor:
    """Scale the gradient down to the greatest norm allowed, and return the norm that it had."""
    limit = run.config.optimizer.clip_norm
    run.accelerator.unscale_gradients(run.optimizer)
    parameters = [claim.parameter for claim in run.claims]
    return torch.nn.utils.clip_grad_norm_(parameters, math.inf if limit is None else limit)


def _check_finite(loss: Tensor, step: int, run: Run) -> None:
    # Over all processes, for one that stopped alone would leave the others waiting.
    total = float(run.accelerator.reduce(loss, reduction="mean"))
    if not math.isfinite(total):
        checkpoint = newest_checkpoint(run.config.run.out / "checkpoints")
        kept = f"; the newest checkpoint is {checkpoint}" if checkpoint else ""
        raise ValueError(f"loss/total is {total} at step {step}: lower optimizer.lr{kept}.")


def _mean_over_processes(run: Run, scalars: Mapping[str, Tensor]) -> dict[str, float]:
    stacked = run.accelerator.reduce(torch.stack([value.float() for value in scalars.values()]), reduction="mean")
    assert isinstance(stacked, Tensor)
    return dict(zip(scalars, stacked.tolist(), strict=True))
