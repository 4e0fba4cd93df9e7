"""The versions and the machine behind a result."""

import platform
from datetime import datetime, timezone

import torch

from .. import __version__
from ..tokenizer.devices import cpu_info, usable_cores


def environment() -> dict[str, str]:
    """Return the versions, the machine and the time (UTC), by name."""
    return {
        "vistok": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        # On Linux platform.processor() is empty, or only the instruction set.
        "processor": cpu_info().get("model name") or platform.processor() or platform.machine(),
        "cores": str(usable_cores()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
