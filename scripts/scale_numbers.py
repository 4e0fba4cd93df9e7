"""The numbers of docs/scale.md: bytes of an image by format, what resuming reads, and hours and bandwidth at measured rates.

    python scripts/scale_numbers.py --photos '../shared/data/photos-train-*.tar' --out results/scale.json

Bytes and the cost of sidecars are measured here. Rates on the CPU are those of results/tokenize.json. Those on a GPU are of
version 0.1 on an H200, and named so. What a cluster adds is from results/simulate_cluster.json. Prints the tables of
docs/scale.md.
"""

import argparse
import glob
import json
import re
import tarfile
import tempfile
import time
import tracemalloc
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from message_cost import seconds_per_message

from vistok.inference.inputs.samples import Failure
from vistok.inference.inputs.views import ONE_ROW
from vistok.inference.token_shards.formats import SHARD_FORMATS, shard_files
from vistok.inference.token_shards.shard_file import ShardFile
from vistok.inference.token_shards.sidecar import Sidecar, sidecar_name, sidecars, to_json
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.token_shards.token_samples import TokenSample, token_dtype

RESULTS = Path(__file__).parents[1] / "results"
GRIDS = {"photo-f8: 32 x 32 tokens below 64,800": (32, 64_800), "LlamaGen VQ-16: 16 x 16 below 16,384": (16, 16_384)}
GPU = {
    "photo-f8, float32, H200, version 0.1": 607.0,
    "photo-f8, `--fast`, H200, version 0.1": 828.0,
    "VQ-16's size, float32, H200, version 0.1, encoder only": 181.0,
    "VQ-16's size, fast and compiled, H200, version 0.1, encoder only": 1574.0,
}
"""Images of 256 x 256 per second, measured on 2026-11-26 at commit 60d75ce with 16 CPU cores: `tokenize-images` on 8,000 JPEG
files, and the encoder on images in the host's memory."""
FLEETS = {"1 GPU": 1, "8 GPUs": 8, "100 nodes of 8": 800}
FLEET_OF_SIMULATION = "uneven, a node lost per 30 node-days"
SHARDS, ROWS = 2000, 1000


def bytes_per_image() -> dict[str, dict[str, float]]:
    """Return the bytes of an image in each format, all files of a shard together, for tokens drawn evenly."""
    found: dict[str, dict[str, float]] = {}
    for name, (side, codes) in GRIDS.items():
        draw = np.random.default_rng(0)
        samples = [
            TokenSample(
                f"{index:09d}",
                draw.integers(0, codes, (1, side, side)).astype(token_dtype(codes)),
                {"source": f"photos-00000.tar/{index:09d}.jpg", "width": 512, "height": 384, "sha256": f"{index:064x}"},
            )
            for index in range(ROWS)
        ]
        found[name] = {"codes alone": side * side * token_dtype(codes).itemsize}
        for label, shard_format in SHARD_FORMATS.items():
            with ExitStack() as stack:
                files = [stack.enter_context(tempfile.TemporaryFile()) for _ in shard_format.suffixes]
                shard_format.write(files, samples)
                found[name][label] = sum(file.seek(0, 2) for file in files) / ROWS
    return found


def cost_of_sidecars() -> dict[str, float]:
    """Return what a second call reads to find out that all shards are done, per shard, on a local disk."""
    with tempfile.TemporaryDirectory() as folder:
        store, written = LocalStore(Path(folder)), 0
        for index in range(SHARDS):
            shard = f"photos-{index:06d}.tar"
            (Path(folder) / shard).write_bytes(b"x")
            files = [ShardFile(name=name, size=1, sha256="0" * 64) for name in shard_files(shard, SHARD_FORMATS["wds"])]
            content = to_json(
                Sidecar(
                    shard=shard,
                    fingerprint="0" * 64,
                    precision="float32",
                    keep="all",
                    views=ONE_ROW,
                    inputs="0" * 64,
                    content="0" * 64,
                    images=10_000,
                    rows=10_000,
                    failures=[],
                    passed_over={},
                    files=files,
                )
            )
            (Path(folder) / sidecar_name(shard)).write_bytes(content)
            written += len(content)
        before, started = time.process_time(), time.perf_counter()
        assert sum(1 for _ in sidecars(store)) == SHARDS
        seconds, cores = time.perf_counter() - started, time.process_time() - before
    return {
        "bytes": written / SHARDS,
        "milliseconds": 1000 * seconds / SHARDS,
        "core_milliseconds": 1000 * cores / SHARDS,
    }


def memory_of_a_failure() -> float:
    """Return the bytes of memory that a failure takes in the process that hands out shards."""
    count = 10_000
    tracemalloc.start()
    rows = [
        Failure(f"{index:09d}", f"photos-00000.tar/{index:09d}.jpg", f"broken image: {index}") for index in range(count)
    ]
    taken = tracemalloc.get_traced_memory()[0] / len(rows)
    tracemalloc.stop()
    return taken


def photo_bytes(pattern: str) -> float:
    """Return the mean bytes of a photo, with its part of the tar."""
    sizes, photos = 0, 0
    for path in glob.glob(pattern):
        with tarfile.open(path) as tar:
            photos += sum(member.isfile() for member in tar)
        sizes += Path(path).stat().st_size
    return sizes / photos


def rates() -> dict[str, float]:
    """Return the measured images per second; those of a CPU by the seconds that its cores worked."""
    measured = json.loads((RESULTS / "tokenize.json").read_text())
    names = {"photo-f8": "photo-f8", "llamagen": "VQ-16's size"}
    modes = {"exact": "float32", "fast": "`--fast`"}
    cores = measured["machine"]["cores"]
    cpu = {
        f"{names[model]}, {said}, {cores} free CPU cores": cores
        / values["ways"][f"{mode}, end to end"]["core_seconds_per_image"]
        for model, values in measured["models"].items()
        for mode, said in modes.items()
    }
    return cpu | GPU


def stretch() -> float:
    """Return what stragglers and losses add on 100 nodes, with 10,000 images per shard."""
    rows = json.loads((RESULTS / "simulate_cluster.json").read_text())["rows"]
    chosen = (FLEET_OF_SIMULATION, "handed out", 10_000)
    return next(row["stretch"] for row in rows if (row["cluster"], row["policy"], row["shard_size"]) == chosen)


def duration(seconds: float) -> str:
    """Return seconds in the unit that suits them."""
    for unit, length in (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.3g} {unit}"
    return f"{seconds:.3g} seconds"


def size(count: float) -> str:
    """Return bytes in the unit that suits them."""
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= length:
            return f"{count / length:,.3g} {unit}"
    return f"{count:.0f} B"


def tables(found: dict[str, Any]) -> str:
    """Return the tables of docs/scale.md."""
    photo, by_format, cost, added = (found[key] for key in ("photo_bytes", "bytes_per_image", "sidecar", "stretch"))
    lines = [
        "| measured | images per second | 10^6 | 10^9 | 10^9 on 8 | 10^9 on 100 nodes of 8 | device-hours for 10^9 |"
    ]
    lines.append("| --- |" + " --- |" * 6)
    for name, rate in found["rates"].items():
        one = 1e9 / rate
        fleets = ("", "") if "CPU" in name else (duration(one / 8), duration(one / 800 * added))
        cells = (f"{rate:,.4g}", duration(one / 1000), duration(one), *fleets, f"{one / 3600:,.0f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"| images per second | read, at {size(photo)} an image | written, wds | written, megatron |"]
    lines.append("| --- | --- | --- | --- |")
    first = by_format[next(iter(GRIDS))]
    for name, devices in FLEETS.items():
        rate = devices * GPU["photo-f8, `--fast`, H200, version 0.1"]
        written = (size(rate * first[label]) + "/s" for label in ("wds", "megatron"))
        lines.append(f"| {rate:,.0f}: {name} | {size(rate * photo)}/s | {' | '.join(written)} |")
    formats = list(first)
    lines += ["", f"| bytes per image | {' | '.join(formats)} |", "| --- |" + " --- |" * len(formats)]
    for name, values in by_format.items():
        lines.append(f"| {name} | {' | '.join(f'{values[label]:,.0f}' for label in formats)} |")
    lines += [
        "",
        "| images per shard | shards | files, wds or parquet | files, megatron | a wds shard | all sidecars | to read them |",
    ]
    lines.append("| --- |" + " --- |" * 6)
    for images in (1_000, 10_000, 100_000):
        shards = 1e9 / images
        cells = (f"{shards:,.0f}", f"{2 * shards:,.0f}", f"{4 * shards:,.0f}", size(images * first["wds"]))
        reading = duration(shards * cost["core_milliseconds"] / 1000)
        lines.append(f"| {images:,} | {' | '.join(cells)} | {size(shards * cost['bytes'])} | {reading} |")
    return "\n".join(lines)


def with_tables(page: str, made: str) -> str:
    """Return a page in which each table takes the place of the one whose first cell is the same."""
    for table in made.split("\n\n"):
        first = re.escape(table.split("|")[1])
        page, times = re.subn(
            rf"^\|{first}\|.*\n(\|.*\n)+", lambda _, table=table: f"{table}\n", page, flags=re.MULTILINE
        )
        assert times == 1, f"{times} tables begin with {first!r}"
    return page


def main() -> None:
    """Measure, write the JSON file and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", required=True, help="Pattern of tars with photos.")
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json")
    parser.add_argument("--page", type=Path, help="Page whose tables are replaced, such as docs/scale.md.")
    given = parser.parse_args()
    found = {
        "photo_bytes": photo_bytes(given.photos),
        "bytes_per_image": bytes_per_image(),
        "sidecar": cost_of_sidecars(),
        "core_microseconds_per_message": 1e6 * seconds_per_message(400),
        "memory_of_a_failure": memory_of_a_failure(),
        "rates": rates(),
        "stretch": stretch(),
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(tables(found))
    if given.page:
        given.page.write_text(with_tables(given.page.read_text(), tables(found)))


if __name__ == "__main__":
    main()
