"""Shards made on a Ray cluster; a worker that is killed in the middle costs nothing."""

import itertools
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from processes import environment
from samples import image_bytes, noise_image
from shard_files import contents
from vistok.inference.inputs.samples import ShardTask
from vistok.inference.tokenize.engines import ray_cluster, ray_engine
from vistok.inference.tokenize.engines.exit_reasons import describe_loss
from vistok.inference.tokenize.engines.messages import Ready
from vistok.inference.tokenize.engines.ray_cluster import Workers, import_ray, workers_of
from vistok.inference.tokenize.job import Placement, ShardResult
from vistok.tokenizer.errors import WorkFailedError

MODULE = [sys.executable, "-m", "vistok.inference.tokenize"]
ACTOR = b"ray::ShardMaker"
CPU, CARDS = {"CPU": 8.0}, {"CPU": 16.0, "GPU": 4.0}


def actors():
    """Return the processes of actors of the user's own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(ACTOR) and path.stat().st_uid == os.getuid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_two_workers_of_which_one_is_killed_make_the_same_bytes(tokenize, tokenizer_folder, tmp_path):
    pytest.importorskip("ray", reason="--engine ray needs Ray, which is not installed")
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(80):
        content = image_bytes(noise_image(500, 500, index), "PNG")
        (photos / f"{index:02}.png").write_bytes(b"broken" if index == 7 else content)
    others = set(actors())
    call = [photos, "--out", out, "--model", tokenizer_folder, "--shard-size", 4, "--batch-size", 1]
    process = subprocess.Popen(
        [*MODULE, *map(str, call), "--engine", "ray", "--devices", "cpu,cpu"],
        env=environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and len(list(out.glob("*.tar"))) < 2:
        time.sleep(0.01)
    mine = sorted(set(actors()) - others)
    os.kill(mine[0], signal.SIGKILL)
    said, complained = process.communicate(timeout=300)
    assert process.returncode == 0 and "on a Ray cluster (cpu, cpu)" in said, said + complained
    assert "79 images in 20 shards, 1 failure listed" in said and len(mine) == 2
    tokenize(photos, "--shard-size", 4, "--out", tmp_path / "alone")
    assert contents(out) == contents(tmp_path / "alone")


def test_a_cluster_that_does_not_answer_is_a_sentence(tokenizer_folder, tmp_path):
    pytest.importorskip("ray", reason="--engine ray needs Ray, which is not installed")
    (tmp_path / "a.png").write_bytes(image_bytes(noise_image(64, 64), "PNG"))
    call = [tmp_path / "a.png", "--out", tmp_path / "out", "--model", tokenizer_folder, "--engine", "ray"]
    ended = subprocess.run(
        [*MODULE, *map(str, call), "--ray-address", "nonsense"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("tokenize-images: No Ray cluster answers at nonsense (")
    assert ended.stderr.endswith("): check --ray-address and RAY_ADDRESS.\n") and ended.stderr.count("\n") == 1


def test_without_ray_the_engine_says_what_to_install(tokenize, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ValueError, match=r"--engine ray needs Ray: pip install 'vistok\[ray\]', or take --engine local\."
    ):
        import_ray()
    (tmp_path / "a.png").write_bytes(image_bytes(noise_image(64, 64), "PNG"))
    assert "needs Ray" in tokenize(tmp_path / "a.png", "--out", tmp_path / "out", "--engine", "ray", code=2)
    assert not (tmp_path / "out").exists()


def asked(nodes, *devices):
    return workers_of(nodes, Placement(devices, is_cluster=True))


def test_workers_fit_into_the_nodes():
    assert asked([CARDS, CARDS, CPU]) == (8, "cuda", 4, 4)
    assert asked([CARDS | {"GPU": 8.0}, CARDS]) == (12, "cuda", 2, 8)  # the nodes with fewest cores a card
    assert asked([CPU, CPU]) == (2, "cpu", 8, 1) and asked([CPU, {"CPU": 4.0}]) == (2, "cpu", 4, 2)
    assert asked([CARDS], "cuda", "cuda") == (2, "cuda", 4, 2)
    assert asked([CARDS], "cpu", "cpu", "cpu") == (3, "cpu", 5, 3)
    assert asked([{"CPU": 2.0}], "cpu", "cpu") == (2, "cpu", 1, 2)
    for devices, has in ((("cuda",) * 5, "4 GPUs and 16 cores"), (("cpu",) * 17, "4 GPUs and 16 cores")):
        sentence = f"--devices asks for {len(devices)} of {devices[0]}, but the Ray cluster has {has}: ask for fewer."
        with pytest.raises(ValueError, match=sentence):
            asked([CARDS], *devices)


def test_a_run_fails_when_there_was_no_worker_for_long_and_not_when_it_is_long(monkeypatch):
    now, cluster = [0.0], SimpleNamespace(put=lambda remote: remote)
    monkeypatch.setattr(ray_engine, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(ray_engine.RemoteJob, "of", lambda job: None)
    actors = ray_engine.Actors(cluster, SimpleNamespace(placement=Placement()), lambda _: None, Workers(1, "cpu", 2, 1))
    actors._actors.append(actor := ray_engine.Actor(None, is_ready=True))
    now[0] = 10_000.0
    actors._check_start()
    actor.is_ready = False
    now[0] += 590
    actors._check_start()
    now[0] += 20
    with pytest.raises(
        WorkFailedError, match=r"For 600 seconds the Ray cluster had no room for a worker \(2 cores\): see"
    ):
        actors._check_start()


class FakeRay:
    """A cluster whose actors answer at once, and are lost over the shards of `deadly`."""

    class RayError(Exception):
        pass

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, deadly):
        self._deadly, self._answers = deadly, itertools.count()
        self.answer_of, self.started = {}, 0

    def put(self, value):
        return value

    def remote(self, _):
        self.started += 1
        methods = {"begin": lambda *_: Ready(), "make": self._make, "progress": list}
        handle = {name: SimpleNamespace(remote=partial(self._ask, method)) for name, method in methods.items()}
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: SimpleNamespace(**handle)))

    def wait(self, calls, timeout):
        return calls, []

    def get(self, call):
        answer = self.answer_of[call]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, handle):
        pass

    def _ask(self, method, *arguments):
        call = next(self._answers)
        self.answer_of[call] = method(*arguments)
        return call

    def _make(self, task):
        return self.RayError("The actor died.") if task.name in self._deadly else ShardResult(task.name)


@pytest.mark.parametrize("workers", [1, 3])
def test_shards_that_end_actors_are_named_however_many(monkeypatch, workers):
    monkeypatch.setattr(ray_engine.RemoteJob, "of", lambda job: None)
    names = [f"s{index:02}" for index in range(40)]

    def run(deadly):
        fake, results = FakeRay(deadly), []
        job = SimpleNamespace(placement=Placement())
        actors = ray_engine.Actors(fake, job, lambda _: None, Workers(workers, "cpu", 2, 1))
        try:
            results += actors.run([ShardTask(name, None, "") for name in names])
        except WorkFailedError as error:
            return results, str(error), fake.started
        return results, "", fake.started

    deadly = {name for name in names if int(name[1:]) % 10 < 3}
    results, error, started = run(deadly)
    assert error == "" and {result.name for result in results if result.lost} == deadly
    assert sorted(result.name for result in results) == names and started > 10 + workers
    results, error, started = run(set(names))
    assert error.startswith("No worker makes a shard: the last one ended (The actor died), after 1")
    assert ": leave their inputs out, or see what ends all workers here." in error and 10 <= len(results) < 20


def test_the_loss_of_an_actor_is_explained():
    class OutOfMemoryError(Exception):
        """As Ray calls its own."""

    remedy = r"\(take fewer --devices, fewer --workers or a smaller --batch-size\)"
    died = "The actor died.\n\tpid: 7\nWorker exit detail: Worker exits with code 2. End of file. So."
    for error, sentence in (
        (OutOfMemoryError("Task was killed"), f"^was killed by Ray because the memory of its node was full {remedy}$"),
        (RuntimeError(died), rf"^ended \(Worker exits with code 2\), as when the memory of its node is full {remedy}$"),
        (RuntimeError("The actor is\nunavailable."), r"^ended \(The actor is unavailable\)$"),
    ):
        with pytest.raises(AssertionError, match=sentence):
            raise AssertionError(describe_loss(error))
    assert ray_cluster.LOCAL_CLUSTER == "local"
