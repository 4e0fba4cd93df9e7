"""The training loop."""

import time
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration, set_seed
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ..images.preprocessing import to_pixels
from ..tokenizer.model import VisualTokenizer, build_tokenizer
from .checkpoint import checkpoint_step, newest_checkpoint, save_checkpoint
from .config import RunConfig, TrainConfig, write_config
from .data import training_batches
from .export import export_tokenizer
from .log import RunLog
from .losses import loss_terms, weigh
from .monitor import CodebookMonitor
from .optimizer import build_optimizer, claim_parameters, routing_table
from .schedule import learning_rate
from .validate import validate, validation_pictures

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def train(config: TrainConfig) -> Path:
    """Train as `config` says and return the exported tokenizer folder; go on where the run folder left off."""
    run = config.run
    accelerator = _accelerator(run)
    set_seed(run.seed)
    model = build_tokenizer(config.model.architecture, config.model.quantizer)
    averaged = _moving_average(model, run.weight_average)
    claims = claim_parameters(model, config.optimizer)
    monitor = CodebookMonitor(model.quantizer, accelerator)
    if run.channels_last:
        model = model.to(memory_format=torch.channels_last)
    ddp_model, optimizer = accelerator.prepare(model, build_optimizer(claims, config.optimizer))
    averaged.to(accelerator.device)
    accelerator.register_for_checkpointing(averaged, monitor)

    checkpoint = newest_checkpoint(run.out / "checkpoints")
    start_step = 0
    if checkpoint is not None:
        accelerator.load_state(str(checkpoint))
        start_step = checkpoint_step(checkpoint)
    if accelerator.is_main_process:
        run.out.mkdir(parents=True, exist_ok=True)
        write_config(config, run.out / "config.yaml")
    accelerator.init_trackers("logs")
    log = RunLog(accelerator, run.out, start_step, run.steps)
    log.show_routing(routing_table(claims, config.optimizer))
    batches = training_batches(
        config.data, run.seed, start_step, run.steps, accelerator.process_index, accelerator.num_processes
    )
    pictures = validation_pictures(config.data.val, config.model.preprocessing)

    clock = time.perf_counter()
    for step, crops in enumerate(batches, start_step):
        pixels = to_pixels(crops.to(accelerator.device))
        if run.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        rate = learning_rate(step, run.steps, config.optimizer)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with accelerator.autocast():
            output = ddp_model(pixels)
        terms = loss_terms(pixels, output, config.losses)
        loss = weigh(terms, config.losses)
        optimizer.zero_grad()
        accelerator.backward(loss)
        if config.optimizer.clip_norm is not None:
            accelerator.clip_grad_norm_(ddp_model.parameters(), config.optimizer.clip_norm)
        optimizer.step()
        averaged.update_parameters(model)
        monitor.observe(output)

        done = step + 1
        if done % run.log_every == 0 or done == run.steps:
            scalars = _mean_over_processes(accelerator, {"total": loss, **terms})
            seconds = time.perf_counter() - clock
            clock = time.perf_counter()
            speed = {"optimizer/lr": rate, "time/pictures_per_second": config.data.batch_size * run.log_every / seconds}
            log.write(done, scalars | monitor.summarise() | speed)
        if pictures and (done % run.validate_every == 0 or done == run.steps):
            log.write(done, validate(averaged.module, pictures, accelerator))
        if done % run.save_every == 0 or done == run.steps:
            save_checkpoint(accelerator, run.out / "checkpoints", done, run.keep_checkpoints)
    if accelerator.is_main_process:
        export_tokenizer(run.out / "export", averaged.module, config)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.out / "export"


def _accelerator(run: RunConfig) -> Accelerator:
    # Codebooks are the same on all ranks by construction; broadcasting buffers would only hide it if they were not.
    return Accelerator(
        mixed_precision=PRECISIONS[run.precision],
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=str(run.out), logging_dir=str(run.out)),
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def _moving_average(model: VisualTokenizer, decay: float) -> AveragedModel:
    def average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        # The first steps are forgotten sooner, or the random start would weigh on the average for 1 / (1 - decay) steps.
        warm = min(decay, (1 + int(updates)) / (10 + int(updates)))
        return averaged.lerp(current, 1 - warm)

    return AveragedModel(model, avg_fn=average)


def _mean_over_processes(accelerator: Accelerator, terms: dict[str, Tensor]) -> dict[str, float]:
    stacked = accelerator.reduce(torch.stack([term.detach().float() for term in terms.values()]), reduction="mean")
    assert isinstance(stacked, Tensor)
    return {f"loss/{name}": value for name, value in zip(terms, stacked.tolist(), strict=True)}
