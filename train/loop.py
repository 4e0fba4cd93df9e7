"""The training loop."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration, set_seed
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ..images.preprocessing import to_pixels
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.shapes import Pixels
from .checkpoint import checkpoint_step, newest_checkpoint, save_checkpoint
from .codebook_care import CodebookCare
from .config import RunConfig, TrainConfig, write_config
from .data import training_batches
from .export import export_tokenizer
from .log import RunLog
from .losses import loss_terms, weigh
from .monitor import CodebookMonitor
from .optimizer import build_optimizer, claim_parameters, routing_table
from .schedule import learning_rate
from .start import starting_model
from .validate import validate, validation_pictures

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def train(config: TrainConfig) -> Path:
    """Train as `config` says and return the exported tokenizer folder; go on where the run folder left off."""
    run = config.run
    accelerator = _accelerator(run)
    set_seed(run.seed)
    model = starting_model(config.model)
    claims = claim_parameters(model, config.optimizer)
    average = moving_average(model, run.weight_average).to(accelerator.device)
    monitor = CodebookMonitor(model.quantizer, accelerator)
    care = CodebookCare(config.codebook, model.quantizer, accelerator, run.seed)
    if run.channels_last:
        model = model.to(memory_format=torch.channels_last)
    trained, optimizer = accelerator.prepare(model, build_optimizer(claims, config.optimizer))
    accelerator.register_for_checkpointing(average, monitor, care)

    start = _resume(accelerator, run)
    if start == 0:
        care.initialise(model, _pixels(config, accelerator, 0))
    if accelerator.is_main_process:
        write_config(config, run.out / "config.yaml")
    log = RunLog(accelerator, run.out, start, run.steps)
    log.show_routing(routing_table(claims, config.optimizer))
    pictures = validation_pictures(config.data.val, config.model.preprocessing)

    clock = time.perf_counter()
    for step, pixels in enumerate(_pixels(config, accelerator, start), start + 1):
        rate = learning_rate(step, run.steps, config.optimizer)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with accelerator.autocast():
            output = trained(pixels)
        terms = loss_terms(pixels, output, config.losses)
        loss = weigh(terms, config.losses)
        _check_finite(loss, step, accelerator, run)
        optimizer.zero_grad()
        accelerator.backward(loss)
        if config.optimizer.clip_norm is not None:
            accelerator.clip_grad_norm_(trained.parameters(), config.optimizer.clip_norm)
        optimizer.step()
        monitor.observe(output, care.observe(step, output, optimizer))
        average.update_parameters(model)

        if step % run.log_every == 0 or step == run.steps:
            scalars = _mean_over_processes(accelerator, {"total": loss, **terms}) | monitor.summarise()
            seconds, clock = time.perf_counter() - clock, time.perf_counter()
            speed = config.data.batch_size * run.log_every / seconds
            log.write(step, scalars | {"optimizer/lr": rate, "time/pictures_per_second": speed})
        if pictures and (step % run.validate_every == 0 or step == run.steps):
            log.write(step, validate(average.module, pictures, accelerator))
        if step % run.save_every == 0 or step == run.steps:
            save_checkpoint(accelerator, run.out / "checkpoints", step, run.keep_checkpoints)
    if accelerator.is_main_process:
        export_tokenizer(run.out / "export", average.module, config)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.out / "export"


def moving_average(model: VisualTokenizer, decay: float) -> AveragedModel:
    """Return a copy of the model whose parameters follow the trained ones as a moving average; buffers are copied."""

    def average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        # The first steps are forgotten sooner, or the random start would weigh on the average for 1 / (1 - decay) steps.
        warm = min(decay, (1 + int(updates)) / (10 + int(updates)))
        return averaged.lerp(current, 1 - warm)

    return AveragedModel(model, avg_fn=average)


def _accelerator(run: RunConfig) -> Accelerator:
    run.out.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        mixed_precision=PRECISIONS[run.precision],
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=str(run.out), logging_dir=str(run.out)),
        # Codebooks are equal on all ranks by construction; a broadcast would hide it if they were not, and breaks two
        # forwards before one backward.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    accelerator.init_trackers("logs")
    return accelerator


def _resume(accelerator: Accelerator, run: RunConfig) -> int:
    checkpoint = newest_checkpoint(run.out / "checkpoints")
    if checkpoint is None:
        return 0
    accelerator.load_state(str(checkpoint))
    return checkpoint_step(checkpoint)


def _pixels(config: TrainConfig, accelerator: Accelerator, start: int) -> Iterator[Pixels]:
    batches = training_batches(
        config.data, config.run.seed, start, config.run.steps, accelerator.process_index, accelerator.num_processes
    )
    layout = torch.channels_last if config.run.channels_last else torch.contiguous_format
    for crops in batches:
        yield to_pixels(crops.to(accelerator.device)).contiguous(memory_format=layout)


def _check_finite(loss: Tensor, step: int, accelerator: Accelerator, run: RunConfig) -> None:
    # Over all processes, for one that stopped alone would leave the others waiting.
    total = float(accelerator.reduce(loss.detach(), reduction="mean"))
    if not math.isfinite(total):
        checkpoint = newest_checkpoint(run.out / "checkpoints")
        kept = f"; the newest checkpoint is {checkpoint}" if checkpoint else ""
        raise ValueError(f"loss/total is {total} at step {step}: lower optimizer.lr{kept}.")


def _mean_over_processes(accelerator: Accelerator, terms: dict[str, Tensor]) -> dict[str, float]:
    stacked = accelerator.reduce(torch.stack([term.detach().float() for term in terms.values()]), reduction="mean")
    assert isinstance(stacked, Tensor)
    return {f"loss/{name}": value for name, value in zip(terms, stacked.tolist(), strict=True)}
