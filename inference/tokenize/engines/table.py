"""The engines of tokenize-images: the table ENGINES, and the protocol of an entry; a file and a line add one."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the options of the command are read from the table, and torch would delay `--help`
    from ...inputs.samples import ShardTask
    from ..job import Job, Report, ShardResult


class Engine(Protocol):
    """Makes shards: in threads, in processes, on other machines. Only the parent writes the manifest."""

    def run(self, tasks: "Iterable[ShardTask]") -> "Iterator[ShardResult]":
        """Yield a result per task, in any order, once its shard is sealed or given up; raise WorkFailedError and OSError."""


EngineFactory: TypeAlias = "Callable[[Job, Report], Engine]"
"""Builds an engine for a job; an engine may report how far each shard is, and need not."""


def _local(job: "Job", report: "Report") -> Engine:
    from .processes import ProcessEngine
    from .stream import ShardStream

    return (ProcessEngine if len(job.placement.devices) > 1 else ShardStream)(job, report)


def _ray(job: "Job", report: "Report") -> Engine:
    from .ray_engine import RayEngine

    return RayEngine(job, report)


LOCAL, RAY = "local", "ray"
ENGINES: dict[str, EngineFactory] = {LOCAL: _local, RAY: _ray}
