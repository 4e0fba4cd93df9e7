"""The tests that need a GPU, and those whose kernels run on one."""

import re
import sys

from .check import DEVICE, Check
from .child import run_child

FILES = ("tests/inference/test_no_waits.py", "tests/inference/test_on_a_gpu.py", "tests/tokenizer/quantizers/search")


def run(check: Check) -> None:
    """Run the tests marked cuda, then all of the search."""
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "--tb", "short", "-r", "fE"]
    marked = ["tests/test_host_syncs.py"] if check.is_small else ["tests", "-m", "cuda"]
    for name, chosen in {"marked cuda": marked, "search and waits": [] if check.is_small else list(FILES)}.items():
        if chosen:
            with check.attempt(name):
                printed = run_child([sys.executable, "-m", "pytest", *overridden(), *options, *chosen])
                check.write(name, **counts(printed), device=DEVICE.type)


def overridden() -> list[str]:
    """Return options that replace those of the project, whose plugins the machine may not have."""
    return ["-o", "addopts=--import-mode=importlib"]


def counts(printed: str) -> dict[str, int]:
    """Return what pytest counted in its last line."""
    last = printed.strip().splitlines()[-1]
    return {
        kind: int(number) for number, kind in re.findall(r"(\d+) (passed|failed|skipped|error|xfailed|xpassed)", last)
    }
