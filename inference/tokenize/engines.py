"""The engines of tokenize-images: the table ENGINES, and what an entry must do.

An engine decides where the shards of a call are made: in threads, in processes, on other machines. To add one, write a
class with `run` in a file of its own, and put it into the table. Engines seal shards; only the parent writes the manifest.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the options of the command are read from the table, and torch would delay `--help`
    from ..inputs.samples import ShardTask
    from .job import Job, Report, ShardResult


class Engine(Protocol):
    """Makes shards; `make_shard` does one from start to end in any process."""

    def run(self, tasks: "Iterable[ShardTask]") -> "Iterator[ShardResult]":
        """Yield one result per task, in any order, as soon as its shard is sealed or given up.

        Raises StoppedOnError where the job asks for it, and OSError when the disk refuses; sealed shards stay.
        """


EngineFactory: TypeAlias = "Callable[[Job, Report], Engine]"
"""Builds an engine for a job; an engine may report how far each shard is, and need not."""


def _local(job: "Job", report: "Report") -> Engine:
    from .local_engine import LocalEngine

    return LocalEngine(job, report)


ENGINES: dict[str, EngineFactory] = {"local": _local}
