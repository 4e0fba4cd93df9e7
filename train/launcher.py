"""The processes of a run, launched by accelerate: their random numbers, and the run folder that they share."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    ProjectConfiguration,
    broadcast_object_list,
    parse_flag_from_env,
    set_seed,
)

from ..tokenizer.devices import multiplies_bfloat16
from ..tokenizer.folder_lock import FolderBusyError, hold_folder
from .logs.trackers import usable_trackers
from .run_config import RunConfig

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
SHARDED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}
"""Environment variables of launches that shard a model, and what each asks for."""


def this_process(precision: str, **settings: Any) -> Accelerator:
    """Return the accelerator of this process, on the CPU if there is no other device."""
    check_launch()
    has_device = torch.accelerator.is_available()
    if precision == "auto":
        device = torch.accelerator.current_accelerator() if has_device else None
        precision = "bfloat16" if multiplies_bfloat16(device or torch.device("cpu")) else "float32"
    # Without cpu=True, accelerate takes each of several processes without a device for the only one.
    return Accelerator(cpu=not has_device, mixed_precision=PRECISIONS[precision], **settings)


def run_accelerator(run: RunConfig) -> Accelerator:
    """Return the accelerator of a run, without writing anything yet."""
    return this_process(
        run.precision,
        log_with=usable_trackers(run.trackers) or None,
        project_config=ProjectConfiguration(project_dir=str(run.out), logging_dir=str(run.out)),
        # Codebooks are equal on all ranks by construction. A broadcast would hide it if they were not, and it breaks two
        # forwards before one backward.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def check_launch() -> None:
    """Raise ValueError when this process was launched to shard the model; call it before accelerate starts.

    A tokenizer fits on one GPU, and Muon needs whole matrices, so each process holds the whole model (DDP).
    """
    for variable, name in SHARDED.items():
        if parse_flag_from_env(variable):
            raise ValueError(
                f"the launch asks for {name}, which shards the model, but a tokenizer fits on one GPU and is trained with "
                "DDP: set distributed_type to MULTI_GPU in the launch config."
            )


@contextmanager
def hold_run_folder(folder: Path) -> Iterator[None]:
    """Hold a run folder, for all processes of this run, against other commands.

    Raises FolderBusyError, OSError when the folder is not writable, and ValueError as `check_launch`, on every process.
    """
    check_launch()
    process = PartialState(cpu=not torch.accelerator.is_available())
    refused: list[Exception | None] = [None]
    with ExitStack() as stack:
        if process.is_main_process:
            try:
                stack.enter_context(hold_folder(folder, "train-tokenizer"))
            except (FolderBusyError, OSError) as error:
                refused = [error]
        refusal: Exception | None = broadcast_object_list(refused)[0]
        if refusal:
            raise refusal
        yield


def seed_noise(seed: int, rank: int, step: int) -> None:
    """Seed torch on all devices, numpy and random, so that no two processes draw the same noise from `step` on."""
    set_seed(int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]))


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore the state of all generators after the body, so that one process alone may draw in it."""
    plain, legacy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
            yield
    finally:
        random.setstate(plain)
        np.random.set_state(legacy)
