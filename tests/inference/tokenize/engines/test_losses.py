"""Workers that are lost: shards that end them are named, however many; where nothing is made any more, the run ends."""

import os
import signal
import threading
from contextlib import closing, suppress
from multiprocessing.connection import Connection

import pytest

from vistok.inference.inputs.samples import ShardTask
from vistok.inference.tokenize.engines import processes
from vistok.inference.tokenize.engines.handout import MAX_LOST, MAX_TRIES, Losses
from vistok.inference.tokenize.engines.messages import Made, Ready, Wants
from vistok.inference.tokenize.engines.remote_job import places_for
from vistok.inference.tokenize.job import ShardResult
from vistok.tokenizer.errors import WorkFailedError


class ThreadedWorker:
    """A worker in a thread, with the methods of Popen; it ends as killed where `ends` says so of its place and task."""

    def __init__(self, connection, ends):
        self._connection = Connection(os.dup(connection.fileno()))
        self._ends = ends
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with closing(self._connection) as connection, suppress(EOFError, OSError):
            place, _ = connection.recv(), connection.recv()
            connection.send(Ready())
            while not self._ends(place, None):
                connection.send(Wants(is_idle=True))
                task = connection.recv()
                if self._ends(place, task):
                    break
                connection.send(Made(ShardResult(task.name)))

    def kill(self):
        pass

    def wait(self, timeout):
        return -signal.SIGKILL


@pytest.fixture
def run(monkeypatch):
    """Run some shards on some devices; return the results and the error."""
    started = []

    def run(count, ends, devices=("cpu",)):
        def start(connection):
            started.append(ThreadedWorker(connection, ends))
            return started[-1]

        monkeypatch.setattr(processes, "start_process", start)
        monkeypatch.setattr(processes.RemoteJob, "of", lambda job: None)
        monkeypatch.setattr(processes.KillWatch, "reason", lambda watch, code: "was killed by SIGKILL")
        started.clear()
        results, error = [], None
        pool = processes.Processes(None, lambda progress: None, places_for(devices, 1))
        try:
            results += pool.dispatcher.run([ShardTask(f"s{index:02}", None, "") for index in range(count)])
        except WorkFailedError as failure:
            error = failure
        finally:
            pool.close()
        return results, error, len(started)

    return run


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cpu", "cpu")])
def test_deadly_shards_are_named_and_all_others_made(run, devices):
    """Some fifty workers are lost, but ten in a row never end without a shard that was made."""
    deadly = {f"s{index:02}" for index in range(40) if index % 10 < 4}
    results, error, started = run(40, lambda _, task: task and task.name in deadly, devices)
    assert error is None and {result.name for result in results if result.lost} == deadly
    assert sorted(result.name for result in results) == [f"s{index:02}" for index in range(40)]
    assert started == len(devices) + MAX_TRIES * len(deadly) and MAX_TRIES * len(deadly) > 4 * MAX_LOST


def test_where_nothing_is_made_any_more_the_run_ends_and_names_the_shards(run):
    names = ", ".join(f"s{index:02}" for index in range(MAX_LOST))
    results, error, started = run(40, lambda _, task: task)
    assert str(error) == (
        f"No worker is left: the last one, on cpu, was killed by SIGKILL, after 10 shards in a row ended 3 each ({names}): "
        "leave their inputs out, or see what ends all workers here."
    )
    assert len(results) == MAX_LOST and started == MAX_TRIES * MAX_LOST


def test_workers_that_end_without_a_shard_end_the_run(run):
    results, error, started = run(3, lambda _, task: not task)
    assert str(error) == "No worker is left: the last one, on cpu, was killed by SIGKILL."
    assert results == [] and started == MAX_LOST


@pytest.mark.parametrize(("when", "most"), [(lambda task: not task, 0), (lambda task: task, MAX_LOST)])
def test_a_device_that_is_at_fault_leaves_the_shards_to_the_others(run, when, most):
    results, error, _ = run(60, lambda place, task: place.device == "cuda:1" and when(task), ("cuda:0", "cuda:1"))
    assert error is None and len(results) == 60 and sum(bool(result.lost) for result in results) <= most


def test_what_was_made_is_a_new_beginning():
    losses, lost = Losses(), [ShardResult("a", lost="a: x")]
    for count in range(MAX_LOST):
        assert not losses.are_too_many
        losses.add(lost if count % 2 else [], has_none=not count % 2)
    assert losses.are_too_many
    losses.reset()
    losses.add([], has_none=False)  # it took a try of a shard, which has three
    assert not losses.are_too_many and losses.describe() == ""
