"""tokenize-images on JPEG files against decoding alone and encoding alone, by scripts/benchmark_bulk.py."""

import json
import sys
import tempfile
from pathlib import Path

from .check import DEVICE, ROOT, Check
from .child import run_child

SCRIPT = ROOT / "scripts" / "benchmark_bulk.py"


def run(check: Check) -> None:
    """Run the script exactly and fast; every rate of its JSON file becomes a line."""
    if not SCRIPT.exists():
        check.write("bulk", skipped=f"there is no {SCRIPT.name}")
        return
    for name, options in {"fast": ["--fast"], "exact": []}.items():
        with check.attempt(name), tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "bulk.json"
            count = ["--images", "24" if check.is_small else "4000"]
            run_child([sys.executable, str(SCRIPT), "--out", str(out), "--device", DEVICE.type, *count, *options])
            check.write(name, **json.loads(out.read_text()))
