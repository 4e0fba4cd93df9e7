"""The trackers of accelerate, which get every scalar besides the files."""

import threading

from accelerate import Accelerator


def begin_trackers(accelerator: Accelerator) -> None:
    """Begin the trackers of a run; an error in a thread of tensorboard is raised again by its next scalar, and told then."""
    tell = threading.excepthook

    def tell_others(error: threading.ExceptHookArgs) -> None:
        if not type(error.thread).__module__.startswith("tensorboard"):
            tell(error)

    threading.excepthook = tell_others
    accelerator.init_trackers("logs")
