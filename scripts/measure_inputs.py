"""Measure what listing inputs takes: planning a million names, and how soon a huge tar begins.

    python scripts/measure_inputs.py --planning 1000000 --tar 100000

Each part runs in a process of its own, so that its peak memory is its own. Names are empty files in folders of 10,000.
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
from itertools import islice
from pathlib import Path

from PIL import Image

from vistok.inference.inputs.companions import KEEP_ALL
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.tar_samples import TarSource

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


def measured(part: str, path: str) -> dict[str, float | int | str]:
    """Do a part and return what it took."""
    before, started = peak(), time.perf_counter()
    if part == "tar":
        samples = iter(TarSource(path, "s", KEEP_ALL).list_samples().samples)
        next(samples)
        first = time.perf_counter() - started
        count = 1 + sum(1 for _ in samples)
        result = {"samples": count, "seconds_to_first": first}
    else:
        plan = plan_shards([path], 1000)
        count = sum(1 for task in plan.shards for _ in islice(task.source.images, None))  # type: ignore[attr-defined]
        result = {"images": count, "shards": len(plan.shards)}
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
    """Return the peak memory of this process in MB; Linux only, where another number begins with that of the parent."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
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
    parser.add_argument("--tar", type=int, default=0, metavar="N", help="members of a tar to list")
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


if __name__ == "__main__":
    main()
