"""Measure what listing inputs takes: planning a million names, how soon a huge tar begins, and memory over many images.

    python scripts/measure_inputs.py --planning 1000000 --tar 100000 --images 100000

Each part runs in a process of its own, so that its peak memory is its own. Names are empty files in folders of 10,000. The tar
and the images are tokenized by photo-f8 at 16 x 16 pixels.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from vistok.inference.inputs.plan import plan_shards
from vistok.tokenizer.preprocessing import PreprocessingConfig

PER_FOLDER = 10_000


def write_names(folder: Path, count: int) -> list[str]:
    """Write empty files with the names of images; return their paths."""
    paths = []
    for index in range(count):
        parent = folder / f"part-{index // PER_FOLDER:05}"
        if index % PER_FOLDER == 0:
            parent.mkdir(parents=True)
        paths.append(f"{parent}/photo-{index:09}.jpg")
        os.close(os.open(paths[-1], os.O_CREAT))
    return paths


def write_tar(path: Path, members: int) -> None:
    """Write a tar of samples of three members each, as img2dataset does."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(buffer, "JPEG")
    with tarfile.open(path, "w") as tar:
        for index in range(members):
            content = buffer.getvalue() if index % 3 == 0 else b'{"caption": "teal"}'
            info = tarfile.TarInfo(f"{index // 3:09}.{('jpg', 'txt', 'json')[index % 3]}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def write_images(folder: Path, count: int) -> None:
    """Write tiny images."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "teal").save(buffer, "PNG")
    for path in write_names(folder, count):
        Path(path).write_bytes(buffer.getvalue())


def planned(path: str) -> dict[str, Any]:
    """Plan shards of names."""
    plan = plan_shards([path], 1000)
    return {"images": len(plan.loose), "shards": len(plan.shards)}


def tokenized(path: str) -> dict[str, Any]:
    """Tokenize images, and note when the first are done and the memory at each tenth of the rest."""
    from bulk_parts import job_of
    from vistok.inference.api import load
    from vistok.inference.tokenize.engines import ENGINES
    from vistok.inference.tokenize.results import Totals, tokenize_shards

    tokenizer = load("photo-f8", device="cpu")
    tokenizer = tokenizer.with_preprocessing(PreprocessingConfig(size=16))
    started, first, memory = time.perf_counter(), 0.0, {}

    def note(totals: Totals) -> None:
        nonlocal first
        done = totals.progress["images"]
        first = first or (done and time.perf_counter() - started)
        memory[10 * done // max(1, totals.expected_images)] = round(status("VmRSS"))

    with tempfile.TemporaryDirectory() as out:
        job = job_of(tokenizer, "float32", Path(out), 32, 2, False)
        totals = tokenize_shards(plan_shards([path], 1000).shards, job, ENGINES["local"], note)
    return {"images": totals.images, "seconds_to_first": first, "mb_at_tenths": str(list(memory.values()))}


PARTS = {"folder": planned, "list": planned, "tar": tokenized, "images": tokenized}


def measured(part: str, path: str) -> dict[str, Any]:
    """Do a part and return what it took."""
    before, started = peak(), time.perf_counter()
    result = PARTS[part](path)
    seconds = time.perf_counter() - started
    return {
        "part": part,
        **result,
        "seconds": seconds,
        "cpu_seconds": time.process_time(),
        "peak_mb": peak(),
        "before_mb": before,
    }


def peak() -> float:
    """Return the peak memory of this process in MB."""
    return status("VmHWM")


def status(name: str) -> float:
    """Return what Linux says of the memory of this process, in MB; `getrusage` begins with the peak of the parent."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def report(part: str, path: Path) -> None:
    """Measure a part in another process, and print a line."""
    run = subprocess.run(
        [sys.executable, __file__, "--part", part, str(path)], check=True, capture_output=True, text=True
    )
    found = json.loads(run.stdout)
    print(
        ", ".join(
            f"{name} {value:,.1f}" if isinstance(value, float) else f"{name} {value}" for name, value in found.items()
        )
    )


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planning", type=int, default=0, metavar="N", help="names to plan, in a folder and in a list")
    parser.add_argument("--tar", type=int, default=0, metavar="N", help="members of a tar to tokenize")
    parser.add_argument("--images", type=int, default=0, metavar="N", help="tiny images to tokenize")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(measured(*arguments.part)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.planning:
            paths = write_names(Path(folder) / "photos", arguments.planning)
            (Path(folder) / "list.txt").write_text("\n".join(paths))
            del paths
            report("folder", Path(folder) / "photos")
            report("list", Path(folder) / "list.txt")
        if arguments.tar:
            write_tar(Path(folder) / "s.tar", arguments.tar)
            report("tar", Path(folder) / "s.tar")
        if arguments.images:
            write_images(Path(folder) / "images", arguments.images)
            report("images", Path(folder) / "images")


if __name__ == "__main__":
    main()
