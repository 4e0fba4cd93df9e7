"""Kill tokenize-images many times, and compare the result with that of one undisturbed run.

    python scripts/torture_tokenize.py --kills 100 --out results/torture_tokenize.json

Each run has its own batch size, kind and number of readers, and threads, and ends by SIGKILL at a random moment. The inputs
are mixed: photos with captions in folders and tars, links, broken images, odd names, special files, a damaged tar, and a list
that names a missing file. Both folders must be equal byte for byte.
"""

import argparse
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

COMMAND = "from vistok.inference.commands.tokenize_images import app; app()"
IN_PROCESSES = "from vistok.inference.inputs import readers; readers.FED_BY_PROCESSES = ('cpu', 'cuda', 'mps'); "
"""Comes before the command in about half of the runs: their readers are processes, as on a GPU."""
SIDES = (8, 90)


def main() -> None:
    """Run the test, write its figures, and exit 1 when the folders differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--images", type=int, default=400, help="in folders, and again in tars")
    parser.add_argument("--model", default="photo-f8")
    parser.add_argument("--size", default="64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        facts = torture(Path(folder), options.kills, options.images, options.model, options.size, options.seed)
    print(json.dumps(facts, indent=2))
    if options.out:
        options.out.write_text(json.dumps(facts, indent=2) + "\n")
    if facts["differences"]:
        sys.exit(1)


def torture(work: Path, kills: int, images: int, model: str, size: str, seed: int) -> dict[str, object]:
    """Return the figures of one test; `differences` names the files that are not equal."""
    generator = random.Random(seed)
    inputs = make_inputs(work / "in", images, seed)
    call = [*map(str, inputs), "--model", model, "--size", size, "--shard-size", str(max(2, images // 12)), "--quiet"]
    disturbed, undisturbed = work / "disturbed", work / "undisturbed"
    seconds = run(call, disturbed, generator, None)[1]  # of a whole run, to draw the moments of the kills from
    shutil.rmtree(disturbed)
    killed = finished = 0
    while killed < kills:
        code, _ = run(call, disturbed, generator, generator.uniform(0, seconds), generator.random() < 0.5)
        killed += code == -signal.SIGKILL
        finished += code != -signal.SIGKILL
        if code != -signal.SIGKILL:  # all shards are done: start again
            differences = compare(disturbed, reference(call, undisturbed, generator))
            if differences:
                break
            shutil.rmtree(disturbed)
    code, _ = run(call, disturbed, generator, None)
    differences = compare(disturbed, reference(call, undisturbed, generator))
    sidecars = [json.loads(path.read_text()) for path in undisturbed.glob("*.json") if path.name != "manifest.json"]
    return {
        "kills": killed,
        "finished_runs": finished + 1,
        "seconds_per_run": round(seconds, 1),
        "exit_code": code,
        "shards": len(sidecars),
        "images": sum(sidecar["images"] for sidecar in sidecars),
        "failures": sum(len(sidecar["failures"]) for sidecar in sidecars),
        "differences": differences,
    }


def reference(call: list[str], out: Path, generator: random.Random) -> Path:
    """Return the folder of an undisturbed run, which is made once."""
    if not out.exists():
        run(call, out, generator, None)
    return out


def run(
    call: list[str], out: Path, generator: random.Random, killed_after: float | None, at_work: bool = False
) -> tuple[int, float]:
    """Run the command with random settings, kill it after some seconds, and return its exit code and seconds.

    With `at_work` the kill comes soon after it has written a shard.
    """
    settings = ["--batch-size", str(generator.choice([1, 3, 16])), "--workers", str(generator.choice([1, 2, 5]))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(generator.choice([1, 2, 3]))}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", generator.choice(["", IN_PROCESSES]) + COMMAND, *call, "--out", str(out), *settings],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if at_work and killed_after is not None:
        shards = len(list(out.glob("*.tar")))
        while process.poll() is None and len(list(out.glob("*.tar"))) <= shards:
            time.sleep(0.002)
        killed_after /= 20
    try:
        _, said = process.communicate(timeout=killed_after)
    except subprocess.TimeoutExpired:
        process.kill()
        _, said = process.communicate()
    if process.returncode not in (0, 1, -signal.SIGKILL) or (process.returncode >= 0 and not out.exists()):
        sys.exit(f"The command ended with {process.returncode}: {said.decode()}")
    return process.returncode, time.perf_counter() - started


def compare(left: Path, right: Path) -> list[str]:
    """Return the names of the files that are not in both folders, or not equal."""
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (left, right)]
    return sorted(
        name for name in contents[0].keys() | contents[1].keys() if contents[0].get(name) != contents[1].get(name)
    )


def make_inputs(folder: Path, images: int, seed: int) -> list[Path]:
    """Make the mixed inputs and return the paths to give to the command."""
    generator = np.random.default_rng(seed)
    photos = folder / "photos"
    for index in range(images):
        path = photos / f"{index % 7}" / f"{index:05d}.{('jpg', 'png', 'webp')[index % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"broken" if index % 23 == 5 else encoded(generator, path.suffix))
        if index % 4 == 0:
            path.with_suffix(".txt").write_text(f"caption {index}")
    (photos / "link.png").symlink_to("nowhere.png")
    (photos / ("n" * 251 + ".jpg")).write_bytes(encoded(generator, ".jpg"))
    os.mkfifo(photos / "fifo.jpg")
    tars = [make_tar(folder / f"shard-{index}.tar", images // 6, generator) for index in range(6)]
    whole = tars[0].read_bytes()
    (folder / "damaged.tar").write_bytes(whole[: len(whole) // 2])
    listed = folder / "list.txt"
    listed.write_text(f"# more\n{folder}/missing.png\n{photos}/0\n")
    return [*tars, folder / "damaged.tar", photos, listed]


def make_tar(path: Path, images: int, generator: np.random.Generator) -> Path:
    """Make a shard with captions, a link, a folder, a fifo and an odd key."""
    with tarfile.open(path, "w") as tar:
        for index in range(images):
            name = ("../" if index == 3 else "") + f"{path.stem}/{index:04d}"
            add(tar, f"{name}.jpg", encoded(generator, ".jpg") if index % 17 != 4 else b"")
            add(tar, f"{name}.txt", b"caption")
            add(tar, f"{name}.json", b'{"n": %d}' % index)
        for name, kind, target in (
            ("folder", tarfile.DIRTYPE, ""),
            ("link.jpg", tarfile.SYMTYPE, f"{path.stem}/0000.jpg"),
            ("hard.jpg", tarfile.LNKTYPE, f"{path.stem}/0001.jpg"),
            ("fifo.jpg", tarfile.FIFOTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return path


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def encoded(generator: np.random.Generator, ending: str) -> bytes:
    """Return the file of a small image of noise."""
    width, height = generator.integers(*SIDES, 2)
    image = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[ending])
    return buffer.getvalue()


if __name__ == "__main__":
    main()
