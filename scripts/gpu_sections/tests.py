"""The tests that need a GPU, and those whose kernels run on one."""

import re
import sys
from collections import Counter

from .check import DEVICE, ROOT, Check
from .child import TimeUpError, run_child

FILES = ("tests/inference/test_no_waits.py", "tests/train/test_no_waiting.py", "tests/tokenizer/quantizers/search")


def run(check: Check) -> None:
    """Run the tests marked cuda, then all of the search."""
    options = ["-v", "--continue-on-collection-errors", "-p", "no:cacheprovider", "--tb", "short", "-r", "fE"]
    marked = ["tests/test_host_syncs.py"] if check.is_small else [*marked_files(), "-m", "cuda"]
    for name, chosen in {"marked cuda": marked, "search and waits": [] if check.is_small else list(FILES)}.items():
        if chosen:
            with check.attempt(name):
                call = [sys.executable, "-m", "pytest", *overridden(), *options, *chosen]
                check.write(name, **outcome(call, check.child_seconds()), device=DEVICE.type)


def marked_files() -> list[str]:
    """Return the files that have tests for a GPU: the others take longer to import than these to run."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in paths if "mark.cuda" in path.read_text()]


def overridden() -> list[str]:
    """Return options that replace those of the project, whose plugins the machine may not have."""
    return ["-o", "addopts=--import-mode=importlib"]


def outcome(call: list[str], seconds: float) -> dict[str, object]:
    """Return how many tests ended in each way, also where some failed or the time ended first, and which failed."""
    facts: dict[str, object] = {}
    try:
        printed = run_child(call, seconds)
    except TimeUpError as error:
        printed = str(error)
        facts["unfinished"] = True
    except RuntimeError as error:
        printed = str(error)
        if not counts(printed):
            raise
    failed = sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)|^(\S+) (?:FAILED|ERROR)", printed, re.MULTILINE)))
    return facts | counts(printed) | ({"tests": [first or second for first, second in failed]} if failed else {})


def counts(printed: str) -> dict[str, int]:
    """Return what pytest counted: in its last line, or, where that is missing, line by line."""
    last = printed.strip().splitlines()[-1] if printed.strip() else ""
    if found := re.findall(r"(\d+) (passed|failed|skipped|error|xfailed|xpassed)", last):
        return {kind: int(number) for number, kind in found}
    return dict(Counter(kind.lower() for kind in re.findall(r" (PASSED|FAILED|SKIPPED|ERROR)\b", printed)))
