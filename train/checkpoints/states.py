"""The states in a checkpoint, beside what accelerate puts there; nothing that is loaded can run code.

accelerate loads weights, optimizers and random numbers without running code, but not the objects that are registered with
it. So none is: their states go through files of our own.
"""

import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils.other import load as load_safely
from safetensors import SafetensorError

from .checkpoint import FACTS_FILE

SHARED_FILE = "shared.pt"
PROCESS_FILE = "process-{}.pt"
RANDOM_FILE = "random_states_{}.pkl"


class HasState(Protocol):
    """An object whose state is the same on all processes."""

    def state_dict(self) -> Any:
        """Return the state, of tensors and plain values."""

    def load_state_dict(self, state: Any) -> Any:
        """Go on from it."""


class HasOwnState(Protocol):
    """An object of which a part is that of its process alone, such as sums that are not yet reduced."""

    def own_state_dict(self) -> dict[str, Any]:
        """Return that part."""

    def load_own_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from it."""


def keep_in_checkpoints(accelerator: Accelerator, shared: Sequence[HasState], own: Sequence[HasOwnState]) -> None:
    """Let checkpoints hold what all processes have in common, and what differs between them in a file of each.

    The first of `shared` is the average of the weights (`averaged_state`). With another number of processes than wrote
    them, none of the latter files is loaded, by any process.
    """

    def save(_models: Any, _weights: Any, folder: str) -> None:
        if accelerator.is_main_process:
            torch.save([each.state_dict() for each in shared], Path(folder) / SHARED_FILE)
        states = [each.own_state_dict() for each in own]
        torch.save(states, Path(folder) / PROCESS_FILE.format(accelerator.process_index))

    def load(_models: Any, folder: str) -> None:
        for common, state in zip(shared, _load(Path(folder) / SHARED_FILE), strict=True):
            common.load_state_dict(state)
        if processes_of(Path(folder)) != accelerator.num_processes:
            return
        states = _load(Path(folder) / PROCESS_FILE.format(accelerator.process_index))
        for each, state in zip(own, states, strict=True):
            each.load_own_state_dict(state)
        # accelerate would go on with other random numbers, without a word, if it could not load these.
        load_safely(Path(folder) / RANDOM_FILE.format(accelerator.process_index))

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def load_states(accelerator: Accelerator, checkpoint: Path) -> None:
    """Load a checkpoint into the objects of the run; raise ValueError when a file of it does not hold states alone."""
    with _of_this_run(checkpoint):
        accelerator.load_state(str(checkpoint), map_location="cpu")


def averaged_state(checkpoint: Path) -> dict[str, Any]:
    """Return the state of the averaged weights, the first that processes share; raise ValueError as `load_states`."""
    with _of_this_run(checkpoint):
        state: dict[str, Any] = _load(checkpoint / SHARED_FILE)[0]
        return {"model": dict(state["model"]), "updates": int(state["updates"])}


@contextmanager
def _of_this_run(checkpoint: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about forms of pickle that the error will tell of
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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch's own words advise to let the file run code
            reason = "one of its files is not of tensors and plain values alone"
        raise ValueError(
            f"{checkpoint} does not hold the states of this run ({reason}): remove it, and the run goes on from the "
            "checkpoint before it, or use another run.out."
        ) from error


def processes_of(checkpoint: Path) -> int:
    """Return how many processes wrote a checkpoint; 0 when another version of vistok did."""
    if not ((checkpoint / SHARED_FILE).is_file() and (checkpoint / FACTS_FILE).is_file()):
        return 0
    return len(list(checkpoint.glob(PROCESS_FILE.format("*"))))


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
