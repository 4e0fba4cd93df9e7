"""What an actor of Ray does: it loads the tokenizer once, and makes shards. It returns errors instead of raising Ray's."""

from contextlib import suppress

from ...inputs.samples import ShardTask
from ..job import Job, ShardProgress, ShardResult
from .launch import Hello, check_same_versions, hello_of
from .messages import Broken, Failed, Ready
from .remote_job import Place, RemoteJob
from .stream import make_shard
from .worker import ending


class ShardMaker:
    """Makes shards on one device; its methods are called in several threads."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._progress: dict[str, ShardProgress] = {}

    def begin(self, remote: RemoteJob, place: Place, driver: Hello) -> Ready | Failed | Broken:
        """Load the tokenizer."""
        try:
            check_same_versions(hello_of("the worker", place.device), driver)
            job = remote.load(place)
            _ = job.encode  # made here, not by several threads at once
        except Exception as error:
            return ending(error)
        self._job = job
        return Ready()

    def make(self, task: ShardTask) -> ShardResult | Failed | Broken:
        """Make a shard."""
        assert self._job
        try:
            return make_shard(task, self._job, self._note)
        except Exception as error:
            return ending(error)

    def progress(self) -> list[ShardProgress]:
        """Return how far the shards are, of which there is news since the last call."""
        news = []
        with suppress(KeyError):
            while True:
                news.append(self._progress.popitem()[1])
        return news

    def _note(self, progress: ShardProgress) -> None:
        self._progress[progress.name] = progress
