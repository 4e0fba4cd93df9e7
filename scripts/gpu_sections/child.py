"""Programs that sections start; all die with the section, whose process group they share."""

import subprocess
import tempfile
from collections.abc import Sequence

from .check import ROOT


class TimeUpError(Exception):
    """A program was ended after its time; its text is what it had printed."""


def run_child(call: Sequence[str], seconds: float | None = None) -> str:
    """Return what a program, started in the root of the repository, prints.

    Raises RuntimeError when it fails, and TimeUpError when it takes longer than `seconds`.
    """
    with tempfile.TemporaryFile("w+") as printed:  # not a pipe, which processes that it started would hold open
        process = subprocess.Popen(call, cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT)
        is_late = False
        try:
            process.wait(None if seconds is None else max(1.0, seconds))
        except subprocess.TimeoutExpired:
            is_late = True
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        printed.seek(0)
        text = printed.read()
    if is_late:
        raise TimeUpError(text)
    if process.returncode:
        raise RuntimeError(text[-2000:])
    return text
