"""The engine of a Ray cluster: an actor for each device, with the tokenizer loaded once, and shards as its tasks."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ....tokenizer.errors import WorkFailedError
from ...inputs.samples import ShardTask
from ..job import Job, Report, ShardResult, encoders_for
from .exit_reasons import describe_loss
from .handout import Handout, Losses
from .launch import hello_of
from .messages import Broken, Failed
from .ray_actor import ShardMaker
from .ray_cluster import Workers, connected, workers_of
from .remote_job import Place, RemoteJob

IN_FLIGHT = 2
"""Shards of an actor at a time: one begins while the other one ends."""
CALLS = IN_FLIGHT + 2
"""Threads of an actor."""
POLLED_EVERY = 1.0
"""Seconds between two questions about progress."""
STARTED_WITHIN = 600.0
"""Seconds without an actor that is ready, after which the run fails."""


@dataclass(eq=False)
class Actor:
    """An actor, as the driver sees it."""

    handle: Any
    is_ready: bool = False
    calls: dict[Any, ShardTask | None] = field(default_factory=dict)
    """What it was asked, by the reference of the answer; None for the start."""
    question: Any = None
    """The reference of the answer about progress."""


class RayEngine:
    """Makes shards on a Ray cluster; an actor that is lost is replaced, and its shards are handed out again."""

    def __init__(self, job: Job, report: Report):
        self._job = job
        self._report = report

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardResult]:
        """Make shards; raise ValueError when there is no cluster, WorkFailedError and OSError."""
        tasks = list(tasks)
        if not tasks:
            return
        placement = self._job.placement
        with connected(placement.ray_address) as ray:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            actors = Actors(ray, self._job, self._report, workers_of(nodes, placement))
            try:
                yield from actors.run(tasks)
            finally:
                actors.close()


class Actors:
    """The actors of a call."""

    def __init__(self, ray: Any, job: Job, report: Report, workers: Workers):
        self._ray = ray
        self._report = report
        self._workers = workers
        readers, encoders = job.placement.readers or workers.cores, encoders_for(workers.device, cores=workers.cores)
        self._place = Place(workers.device, readers, encoders, workers.per_node)
        self._remote = ray.put(RemoteJob.of(job))
        self._driver = hello_of("the driver", workers.device)
        self._actors: list[Actor] = []
        self._losses = Losses()
        self._last_ready = time.monotonic()

    def run(self, tasks: list[ShardTask]) -> Iterator[ShardResult]:
        """Yield the result of each shard; raise WorkFailedError, ValueError and OSError."""
        handout = Handout(tasks)
        for _ in range(min(self._workers.number, len(tasks))):
            self._start()
        while not handout.is_over:
            self._hand_out(handout)
            calls = {call: actor for actor in self._actors for call in actor.calls}
            done, _ = self._ray.wait(list(calls), timeout=POLLED_EVERY)
            for call in done:
                yield from self._answered(calls[call], call, handout)
            self._ask_progress()
            self._check_start()

    def close(self) -> None:
        """End all actors at once."""
        for actor in self._actors:
            with suppress(Exception):
                self._ray.kill(actor.handle)

    def _start(self) -> None:
        options = {"num_cpus": self._workers.cores, "num_gpus": int(self._workers.device == "cuda")}
        handle = self._ray.remote(ShardMaker).options(**options, max_concurrency=CALLS, max_restarts=0).remote()
        actor = Actor(handle)
        actor.calls[handle.begin.remote(self._remote, self._place, self._driver)] = None
        self._actors.append(actor)

    def _hand_out(self, handout: Handout) -> None:
        for actor in self._actors:
            while actor.is_ready and len(actor.calls) < IN_FLIGHT and (task := handout.take(actor)):
                actor.calls[actor.handle.make.remote(task)] = task

    def _answered(self, actor: Actor, call: Any, handout: Handout) -> Iterator[ShardResult]:
        if call not in actor.calls:  # of an actor that was lost in between
            return
        answer = self._answer(call)
        task = actor.calls.pop(call)
        if isinstance(answer, Failed):
            raise answer.error
        if isinstance(answer, Broken):
            has_none = handout.has_none(actor)
            given_up = handout.lose(actor, answer.reason)
            yield from given_up
            self._losses.add(given_up, has_none)
            self._replace(actor, answer.reason)
        elif task is None:
            actor.is_ready = True
        else:
            self._losses.reset()
            handout.finish(actor, task.name)
            yield answer

    def _answer(self, call: Any) -> Any:
        try:
            return self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            return Broken(describe_loss(error))

    def _replace(self, actor: Actor, reason: str) -> None:
        if self._losses.are_too_many:
            raise WorkFailedError(f"No worker makes a shard: the last one {reason}{self._losses.describe()}.")
        self._actors.remove(actor)
        actor.calls.clear()
        with suppress(Exception):
            self._ray.kill(actor.handle)
        self._start()

    def _ask_progress(self) -> None:
        for actor in self._actors:
            if actor.is_ready and actor.question is None:
                actor.question = actor.handle.progress.remote()
            elif actor.is_ready and self._ray.wait([actor.question], timeout=0)[0]:
                with suppress(self._ray.exceptions.RayError):
                    for progress in self._ray.get(actor.question):
                        self._report(progress)
                actor.question = None

    def _check_start(self) -> None:
        now = time.monotonic()
        if any(actor.is_ready for actor in self._actors):
            self._last_ready = now
        elif now - self._last_ready > STARTED_WITHIN:
            workers = self._workers
            raise WorkFailedError(
                f"For {STARTED_WITHIN:.0f} seconds the Ray cluster had no room for a worker ({workers.cores} cores"
                f"{', 1 GPU' if workers.device == 'cuda' else ''}): see what else runs there."
            )
