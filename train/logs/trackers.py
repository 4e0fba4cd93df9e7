"""The trackers of accelerate, which get every scalar as the files do; if one fails, that is a warning."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

from ...cli.user_errors import describe_error
from ...tokenizer.wording import unknown_choice

INSTEAD = "the scalars are in metrics.jsonl as well"


def usable_trackers(names: list[str]) -> list[str]:
    """Return the trackers whose packages are installed; raise ValueError for a name that accelerate does not know."""
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ValueError(unknown_choice("tracker", f"run.trackers {name!r}", name, sorted(LOGGER_TYPE_TO_CLASS)))
    installed = {str(tracker) for tracker in get_available_trackers()}
    return [name for name in names if name in installed]


@contextmanager
def quiet_tracker_threads() -> Iterator[None]:
    """Silence errors in threads of tensorboard, which its next scalar raises again."""
    original = threading.excepthook

    def print_others(error: threading.ExceptHookArgs) -> None:
        if not type(error.thread).__module__.startswith("tensorboard"):
            original(error)

    threading.excepthook = print_others
    try:
        yield
    finally:
        threading.excepthook = original


def start_trackers(accelerator: Accelerator, wanted: list[str]) -> list[str]:
    """Start the trackers of a run, and return a warning about each that fails."""
    usable = usable_trackers(wanted)
    warnings = [f"{name} is not installed: {INSTEAD}." for name in wanted if name not in usable]
    started: list[Any] = []
    for name in usable:
        accelerator.log_with, accelerator.trackers = [name], []
        try:
            accelerator.init_trackers("logs")
            started += accelerator.trackers
        except Exception as error:
            warnings.append(_failed(name, error))
    accelerator.trackers = started
    return warnings


def track_scalars(accelerator: Accelerator, scalars: Mapping[str, float], step: int) -> list[str]:
    """Send scalars to the trackers, and return a warning about each that fails; it gets no more."""
    return _each(accelerator, lambda tracker: tracker.log(dict(scalars), step=step))


def end_trackers(accelerator: Accelerator) -> list[str]:
    """End the trackers, and return a warning about each that fails."""
    warnings = _each(accelerator, lambda tracker: tracker.finish())
    accelerator.trackers = []
    return warnings


def _each(accelerator: Accelerator, call: Any) -> list[str]:
    warnings = []
    for tracker in list(accelerator.trackers):
        try:
            call(tracker)
        except Exception as error:
            accelerator.trackers.remove(tracker)
            warnings.append(_failed(tracker.name, error))
    return warnings


def _failed(name: str, error: Exception) -> str:
    return f"the tracker {name} failed and gets no more scalars: {describe_error(error).rstrip('.')}; {INSTEAD}."
