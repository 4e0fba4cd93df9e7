"""Programs that sections start; all die with the section, whose process group they share."""

import subprocess
from collections.abc import Sequence

from .check import ROOT


def run_child(call: Sequence[str]) -> str:
    """Return what a program, started in the root of the repository, prints; raise RuntimeError when it fails."""
    done = subprocess.run(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])
    return done.stdout
