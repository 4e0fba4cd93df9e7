"""Why a process has ended, in words."""

import re
import signal
from contextlib import suppress

from ....tokenizer.system import memory_kills

REMEDY = "take fewer --devices, fewer --workers or a smaller --batch-size"


class KillWatch:
    """Tells processes that the system killed for their memory from others: it has counted such kills since before."""

    def __init__(self) -> None:
        self._kills = memory_kills()

    def reason(self, exit_code: int | None) -> str:
        """Return why a process has ended, to follow its name: "was killed by SIGTERM"."""
        if exit_code is None:
            return "does not end"
        if exit_code >= 0:
            return f"ended with exit code {exit_code}"
        if exit_code != -signal.SIGKILL:
            name = str(-exit_code)
            with suppress(ValueError):
                name = signal.Signals(-exit_code).name
            return f"was killed by {name}"
        before, self._kills = self._kills, memory_kills()
        if before is None or self._kills is None:
            return f"was killed by SIGKILL, as the system does when the memory is full ({REMEDY})"
        if self._kills > before:
            return f"was killed by the system because the memory was full ({REMEDY})"
        return "was killed by SIGKILL"


def describe_loss(error: Exception) -> str:
    """Return why an actor has ended, to follow its name; Ray says more, in several lines."""
    text = " ".join(str(error).split())
    if "OutOfMemory" in type(error).__name__ or "memory monitor" in text or "running low on memory" in text:
        return f"was killed by Ray because the memory of its node was full ({REMEDY})"
    found = re.search(r"Worker exit detail: (.+?)\. ", text)
    detail = found[1] if found else text[:200].rstrip(".")
    return f"ended ({detail}), as when the memory of its node is full ({REMEDY})" if found else f"ended ({detail})"
