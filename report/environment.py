"""What a result was computed on."""

import os
import platform
from datetime import datetime, timezone
from pathlib import Path

import torch

from .. import __version__

CPU_INFO = Path("/proc/cpuinfo")


def environment() -> dict[str, str]:
    """Return the versions, the machine and the time (UTC), by name."""
    return {
        "vistok": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": str(_cores()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _processor() -> str:
    # Linux leaves platform.processor() empty or names the instruction set alone.
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> int:
    """Return the cores this process may use, which a container or a scheduler can limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
