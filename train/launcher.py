"""The launcher, accelerate: the processes of a run, and the run folder that they share."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration, broadcast_object_list
from torch.distributed.fsdp import StateDictType

from ..tokenizer.devices import multiplies_bfloat16
from ..tokenizer.files import FolderBusyError, hold_folder
from .config import RunConfig, TrainConfig

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def this_process(precision: str, **settings: Any) -> Accelerator:
    """Return this process's accelerator; without a device of its own it is one of several on the CPU, or the only one."""
    has_device = torch.accelerator.is_available()
    if precision == "auto":
        device = torch.accelerator.current_accelerator() if has_device else None
        precision = "bfloat16" if multiplies_bfloat16(device or torch.device("cpu")) else "float32"
    # Left to itself, accelerate takes each of several processes without a device for the only one.
    return Accelerator(cpu=not has_device, mixed_precision=PRECISIONS[precision], **settings)


def run_accelerator(run: RunConfig) -> Accelerator:
    """Return the accelerator of a run; nothing is written yet."""
    return this_process(
        run.precision,
        log_with=run.trackers or None,
        project_config=ProjectConfiguration(project_dir=str(run.out), logging_dir=str(run.out)),
        # Codebooks are equal on all ranks by construction; a broadcast would hide it if they were not, and breaks two
        # forwards before one backward.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def check_sharding(accelerator: Accelerator, config: TrainConfig) -> None:
    """Raise ValueError for what cannot be done with parameters that FSDP shards."""
    if config.optimizer.name == "muon":
        raise ValueError("optimizer.name is muon, which needs whole matrices, but FSDP shards them: use adamw, or DDP.")
    kind = accelerator.state.fsdp_plugin.state_dict_type
    if kind is not StateDictType.FULL_STATE_DICT:
        # The index of a sharded checkpoint is a pickle that torch loads unchecked: a planted one would run code.
        raise ValueError(
            f"fsdp_state_dict_type is {kind.name}, but checkpoints of that type cannot be loaded safely: set it to "
            "FULL_STATE_DICT in the launch config."
        )


@contextmanager
def hold_run_folder(folder: Path) -> Iterator[None]:
    """Keep other commands out of a run folder, which all processes of this one share.

    Raises FolderBusyError, and OSError when the folder cannot be written to, on every process.
    """
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
