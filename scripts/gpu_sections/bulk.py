"""tokenize-images on JPEG files against decoding alone and encoding alone, by scripts/benchmark_bulk.py."""

import json
import sys
import tempfile
from pathlib import Path

from .check import DEVICE, ROOT, Check
from .child import TimeUpError, run_child

SCRIPT = ROOT / "scripts" / "benchmark_bulk.py"


def run(check: Check) -> None:
    """Run the script fast and exactly; every rate becomes a line, also where the time ends before all are known."""
    ways = {"fast": ["--fast"]} if check.is_small else {"fast": ["--fast"], "exact": []}
    for name, options in ways.items():
        with check.attempt(name), tempfile.TemporaryDirectory() as folder:
            measure(check, name, options, Path(folder) / "bulk.json")


def measure(check: Check, way: str, options: list[str], out: Path) -> None:
    """Measure one way, in the batches that tokenize-images would choose."""
    count = ["--images", "24" if check.is_small else "2000", "--rounds", "1" if check.is_small else "2"]
    facts = {}
    try:
        run_child(
            [sys.executable, str(SCRIPT), "--out", str(out), "--device", DEVICE.type, *count, *options],
            check.child_seconds(),
        )
    except TimeUpError:
        facts["unfinished"] = True
        if not out.exists():
            raise
    found = json.loads(out.read_text())
    for name, value in found.pop("images_per_second").items():
        check.write(f"{way}: {name}", value=value, unit="images/s", **facts)
    for name, value in found.pop("ratios", {}).items():
        check.write(f"{way}: {name}", value=value)
    check.write(way, **found)
