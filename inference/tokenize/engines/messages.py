"""What workers and the process that hands out shards say to each other: plain data, over a connection.

A worker gets a `RemoteJob` and says `Ready`; then it asks by `Wants` and gets a `ShardTask`, or None when it may begin no
other. `Ended`, or the end of the connection, is the end of its work.
"""

from typing import NamedTuple, TypeAlias

from ..job import ShardProgress, ShardResult


class Ready(NamedTuple):
    """The worker has loaded its tokenizer."""


class Wants(NamedTuple):
    """The worker asks for a shard."""

    is_idle: bool
    """Whether it has nothing to do; it then waits until there is one."""


class Told(NamedTuple):
    """How far a shard is."""

    progress: ShardProgress


class Made(NamedTuple):
    """A shard is sealed or given up."""

    result: ShardResult


class Failed(NamedTuple):
    """An error that ends the run, whichever worker meets it."""

    error: Exception


class Broken(NamedTuple):
    """The worker ends, and another one may take its place."""

    reason: str


class Ended(NamedTuple):
    """The run is over."""

    reason: str = ""
    """A sentence when it has failed elsewhere."""


FromWorker: TypeAlias = Ready | Wants | Told | Made | Failed | Broken
