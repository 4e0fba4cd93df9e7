"""The states in a checkpoint; loading them cannot run code."""

import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils.other import load as load_safely
from safetensors import SafetensorError

from .checkpoint import FACTS_FILE

SHARED_FILE = "shared.pt"
RANK_FILE = "process-{}.pt"
RANDOM_FILE = "random_states_{}.pkl"


def keep_in_checkpoints(accelerator: Accelerator, ema: Any, others: Sequence[Any]) -> None:
    """Let checkpoints hold the states of objects, made of tensors and plain values.

    A `state_dict` is the same on all processes and goes into one file. A `rank_state_dict`, such as sums that are not reduced
    yet, goes into a file for each process; if another number of processes resumes, none of them loads it.
    """
    shared = [each for each in others if hasattr(each, "state_dict")]
    per_rank = [each for each in others if hasattr(each, "rank_state_dict")]

    def save(_models: Any, _weights: Any, folder: str) -> None:
        if accelerator.is_main_process:
            states = {"ema": ema.state_dict(), "others": [each.state_dict() for each in shared]}
            torch.save(states, Path(folder) / SHARED_FILE)
        rank_states = [each.rank_state_dict() for each in per_rank]
        torch.save(rank_states, Path(folder) / RANK_FILE.format(accelerator.process_index))

    def load(_models: Any, folder: str) -> None:
        states = _load(Path(folder) / SHARED_FILE)
        ema.load_state_dict(states["ema"])
        for each, state in zip(shared, states["others"], strict=True):
            each.load_state_dict(state)
        if processes_of(Path(folder)) != accelerator.num_processes:
            return
        rank_states = _load(Path(folder) / RANK_FILE.format(accelerator.process_index))
        for each, state in zip(per_rank, rank_states, strict=True):
            each.load_rank_state_dict(state)
        # Without this check accelerate would silently continue with other random numbers if it could not load these.
        load_safely(Path(folder) / RANDOM_FILE.format(accelerator.process_index))

    # Not register_for_checkpointing: accelerate does not load what is registered safely.
    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def load_states(accelerator: Accelerator, checkpoint: Path) -> None:
    """Load a checkpoint into the objects of the run; raise ValueError when it is not one of this run."""
    with _of_this_run(checkpoint):
        accelerator.load_state(str(checkpoint), map_location="cpu")


def ema_state(checkpoint: Path) -> dict[str, Any]:
    """Return the state of the EMA weights in a checkpoint; raise ValueError as `load_states`."""
    with _of_this_run(checkpoint):
        state: dict[str, Any] = _load(checkpoint / SHARED_FILE)["ema"]
        return {"model": dict(state["model"]), "updates": int(state["updates"])}


@contextmanager
def _of_this_run(checkpoint: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about forms of pickle that are refused anyway
            yield
    except (torch.OutOfMemoryError, torch.distributed.DistError):
        raise  # not the checkpoint's fault
    except (
        pickle.UnpicklingError,
        SafetensorError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        EOFError,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, pickle.UnpicklingError):  # torch's own message advises to let the file run code
            reason = "one of its files holds more than tensors and plain values"
        raise ValueError(
            f"{checkpoint} does not hold the states of this run ({reason}): remove it to resume from the "
            "checkpoint before it, or use another run.out."
        ) from error


def processes_of(checkpoint: Path) -> int:
    """Return the number of processes that wrote a checkpoint; 0 if another version of vistok did."""
    if not ((checkpoint / SHARED_FILE).is_file() and (checkpoint / FACTS_FILE).is_file()):
        return 0
    return len(list(checkpoint.glob(RANK_FILE.format("*"))))


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
