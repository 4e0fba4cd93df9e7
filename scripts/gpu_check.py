"""Measures vistok on a GPU: sections by name, each with its time, one JSON line per measurement as it is made.

    python scripts/gpu_check.py --minutes 8 --out gpu.jsonl [--sections encode,search] [--photos 'photos/*.tar' ...]
    python scripts/gpu_check.py --minutes 6 --sections alternatives,training_run --keep runs --out more.jsonl
    python scripts/gpu_table.py gpu.jsonl

A section is a process of its own, which is killed at the end of its time: what it wrote stays, and the next one begins. An
error ends one measurement. With --small everything runs on a CPU, as a test of this program.

The sections: environment (the machine, and the ceilings that others are compared with), encode, search, training_step, tests,
bulk, decode, alternatives (layouts, batch sizes, compile modes), and, only when it is named, training_run, which trains
configs/photo-f16.yaml for its time.

It needs what `pip install .[test]` installs. On a machine that cannot download, scripts/gpu_carry.py gathers before what it
lacks (of the wheels: pydantic with pydantic-core, annotated-types and typing-inspection, braceexpand, webdataset, beartype,
vector-quantize-pytorch with einx and torch-einops-utils), photos, and the weights of a perceptual network. `--carried FOLDER`
uses such a folder. The environment says what is still missing.
"""

import argparse
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = {
    "environment": (7, "environment", "run"),
    "encode": (24, "encode", "run"),
    "search": (12, "search", "run"),
    "training_step": (26, "training", "step"),
    "tests": (9, "tests", "run"),
    "bulk": (11, "bulk", "run"),
    "decode": (4, "decode", "run"),
    "alternatives": (7, "alternatives", "run"),
    "training_run": (100, "training", "run"),
}
"""Relative time, module and function of each section, in the order in which they run. Time that one leaves is shared by
the others."""
ALONE = ("training_run",)
"""Sections that run only when they are named."""
PATHS = ("photos", "validation", "perceptual", "keep")


def main() -> None:
    """Run the sections, or one of them in this process."""
    arguments = parse()
    if arguments.run_section:
        return run_section(arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    ends_at = time.time() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vistok").symlink_to(ROOT)
        unpack_missing(arguments.carried, Path(folder) / "site")
        paths = [folder, f"{folder}/site", os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
        for index, name in enumerate(arguments.sections):
            weights = [SECTIONS[other][0] for other in arguments.sections[index:]]
            limit = max(1.0, (ends_at - time.time()) * weights[0] / sum(weights))
            run_child(name, limit, environment)
    print(f"{arguments.out} is complete: python scripts/gpu_table.py {arguments.out}", flush=True)
    return None


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/gpu.jsonl"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--sections", type=parse_sections, default=[name for name in SECTIONS if name not in ALONE])
    parser.add_argument("--small", action="store_true", help="Tiny sizes, for a test of this program.")
    parser.add_argument("--carried", type=Path, help="Folder that scripts/gpu_carry.py made.")
    for name in PATHS:
        parser.add_argument(f"--{name}", help="default: that of the carried folder, or else the photos of the tests")
    parser.add_argument("--run-section", help=argparse.SUPPRESS)
    parser.add_argument("--ends-at", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


def parse_sections(text: str) -> list[str]:
    """Return the names of sections, in the order in which they run."""
    names = text.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"there is no section {unknown[0]}: choose from {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


def unpack_missing(carried: Path | None, site: Path) -> None:
    """Unpack those wheels whose package the machine does not have, and typing_extensions, which new packages need new."""
    for wheel in (carried / "wheels").glob("*.whl") if carried else []:
        name = wheel.name.split("-")[0]
        if name == "typing_extensions" or importlib.util.find_spec(name) is None:
            zipfile.ZipFile(wheel).extractall(site)


def run_child(name: str, limit: float, environment: dict[str, str]) -> None:
    """Run a section in a process of its own for at most `limit` seconds."""
    started = time.time()
    call = [sys.executable, *sys.argv, "--run-section", name, "--ends-at", str(started + limit)]
    process = subprocess.Popen(call, env=environment, start_new_session=True)
    try:
        status = {0: "finished"}.get(process.wait(limit), "failed")
    except subprocess.TimeoutExpired:
        status = "stopped at the end of its time"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    from gpu_sections.lines import write_line

    write_line(
        parse().out, name, "section", status=status, seconds=round(time.time() - started, 1), limit=round(limit, 1)
    )


def run_section(arguments: argparse.Namespace) -> None:
    """Run one section in this process."""
    from gpu_sections.check import Check

    options = {name: value for name in PATHS if (value := getattr(arguments, name) or carried(arguments.carried, name))}
    check = Check(arguments.run_section, arguments.out, arguments.small, arguments.ends_at, options)
    _, module, function = SECTIONS[arguments.run_section]
    getattr(importlib.import_module(f"gpu_sections.{module}"), function)(check)


def carried(folder: Path | None, name: str) -> str | None:
    """Return the path of what was carried along under a name, where it was."""
    files = {"photos": "photos", "validation": "validation", "perceptual": "perceptual.safetensors"}
    path = folder / files[name] if folder and name in files else None
    return str(path.resolve()) if path and path.exists() else None


if __name__ == "__main__":
    main()
