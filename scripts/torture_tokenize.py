"""Kill tokenize-images many times, and compare the result with that of one undisturbed run.

    python scripts/torture_tokenize.py --kills 100 --out results/torture_tokenize.json

Each run has its own engine and number of processes, batch size, kind and number of readers, and threads. It ends by SIGKILL at
a random moment, of its driver or of one process of a launch; before that, single workers are killed too, without which it goes
on. The inputs are mixed: photos with captions in folders and tars, links, broken images, odd names, special files, a damaged
tar, and a list that names a missing file. Both folders must be equal byte for byte; then it begins again, in another format.
"""

import argparse
import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from torture_engines import Running, engines, kill_one, start_local
from torture_inputs import make_inputs


def main() -> None:
    """Run the test, write its figures, and exit 1 when the folders differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--images", type=int, default=400, help="in folders, and again in tars")
    parser.add_argument("--model", default="photo-f8")
    parser.add_argument("--size", default="64")
    parser.add_argument("--engines", default=",".join(engines()), help="from which each run draws one")
    parser.add_argument("--formats", default=",".join(formats()), help="from which each folder draws one")
    parser.add_argument("--minutes", type=float, default=1e9, help="after which no other run is killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        facts = Torture(Path(folder), options).run()
    print(json.dumps(facts, indent=2))
    if options.out:
        options.out.write_text(json.dumps(facts, indent=2) + "\n")
    if facts["differences"]:
        sys.exit(1)


class Torture:
    """One test, in a folder of its own."""

    def __init__(self, work: Path, options: argparse.Namespace):
        self._options = options
        self._generator = random.Random(options.seed)
        self._disturbed, self._work = work / "disturbed", work
        self._form, self._seconds = "", 0.0
        inputs = make_inputs(work / "in", options.images, options.seed)
        shards = ["--shard-size", str(max(2, options.images // 12)), "--quiet"]
        self._call = [*map(str, inputs), "--model", options.model, "--size", options.size, *shards]
        self._engines = {name: engines()[name] for name in options.engines.split(",")}
        self._runs: Counter[str] = Counter()
        self._folders: Counter[str] = Counter()
        self._workers_killed = 0

    def run(self) -> dict[str, object]:
        """Return the figures; `differences` names the files that are not equal."""
        until = time.monotonic() + 60 * self._options.minutes
        self._begin()
        killed = finished = 0
        differences: list[str] = []
        while killed < self._options.kills and time.monotonic() < until and not differences:
            if self._killed_run(self._generator.uniform(0.2, 1) * self._seconds) == -signal.SIGKILL:
                killed += 1
            else:  # all shards are done: start again
                finished += 1
                differences = compare(self._disturbed, self._undisturbed)
                if not differences:
                    shutil.rmtree(self._disturbed)
                    self._begin()
        code = self._killed_run(None)
        sidecars = [path for path in self._undisturbed.glob("*.json") if path.name != "manifest.json"]
        rows = [json.loads(path.read_text()) for path in sidecars]
        return {
            "kills": killed,
            "workers_killed": self._workers_killed,
            "runs": dict(sorted(self._runs.items())),
            "folders": dict(sorted(self._folders.items())),
            "finished_runs": finished + 1,
            "seconds_per_run": round(self._seconds, 1),
            "exit_code": code,
            "shards": len(rows),
            "images": sum(row["images"] for row in rows),
            "failures": sum(len(row["failures"]) for row in rows),
            "differences": differences or compare(self._disturbed, self._undisturbed),
        }

    @property
    def _undisturbed(self) -> Path:
        return self._work / f"undisturbed-{self._form}"

    def _begin(self) -> None:
        """Draw the format of the next folder, and make the reference in one process where there is none."""
        self._form = self._generator.choice(self._options.formats.split(","))
        self._folders[self._form] += 1
        if not self._undisturbed.exists():
            started = time.perf_counter()
            arguments = [*self._call, "--format", self._form, "--out", str(self._undisturbed)]
            running = start_local(arguments, dict(os.environ), random.Random(0))
            said = running.processes[0].communicate()[1]
            check(running.code, said, self._undisturbed)
            self._seconds = time.perf_counter() - started

    def _killed_run(self, seconds: float | None) -> int:
        """Run with random settings and kill; about half of the kills come soon after a shard. Return the exit code.

        Without `seconds` nothing is killed.
        """
        generator = self._generator
        name = generator.choice(list(self._engines))
        settings = ["--batch-size", str(generator.choice([1, 3, 16])), "--workers", str(generator.choice([1, 2, 5]))]
        environment = {**os.environ, "OMP_NUM_THREADS": str(generator.choice([1, 2, 3]))}
        arguments = [*self._call, "--format", self._form, "--out", str(self._disturbed), *settings]
        running = self._engines[name](arguments, environment, generator)
        self._runs[name] += 1
        if seconds is None:
            said = b"".join(process.communicate()[1] for process in running.processes)
        else:
            self._kill_workers(running, seconds)
            said = running.kill(generator)
        check(running.code, said, self._disturbed)
        return running.code

    def _kill_workers(self, running: Running, seconds: float) -> None:
        """Let a run go on for some seconds after its first process has begun to work, and kill up to two of its workers."""
        generator, shards = self._generator, self._shards()
        # Those of a launch wait for minutes for one that is killed before it has joined them.
        at_work = generator.random() < 0.7 or len(running.processes) > 1
        while at_work and running.processes[0].poll() is None and self._shards() <= shards:
            time.sleep(0.002)
        parts = generator.choice([1, 2, 3])  # a shard may lose two workers, and is given up at the third
        for part in range(parts):
            until = time.monotonic() + seconds / parts / (5 if at_work else 1)
            while running.processes[0].poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            if part < parts - 1:
                self._workers_killed += kill_one(running.workers(), generator)

    def _shards(self) -> int:
        return sum(path.name != "manifest.json" for path in self._disturbed.glob("*.json"))


def formats() -> list[str]:
    """Return the formats that can be written here."""
    return ["wds", "megatron", *(["parquet"] if importlib.util.find_spec("pyarrow") else [])]


def check(code: int, said: bytes, out: Path) -> None:
    """Exit unless a command ended by the kill, or as one whose inputs have a damaged tar."""
    if code not in (1, -signal.SIGKILL) or (code >= 0 and not out.exists()):
        sys.exit(f"The command ended with {code}: {said.decode()}")


def compare(left: Path, right: Path) -> list[str]:
    """Return the names of the files that are not in both folders, or not equal."""
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in (left, right)]
    return sorted(
        name for name in contents[0].keys() | contents[1].keys() if contents[0].get(name) != contents[1].get(name)
    )


if __name__ == "__main__":
    main()
