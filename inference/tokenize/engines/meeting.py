"""Rank 0 of a launch: the other processes join it, and learn from it how the run ends."""

import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from types import TracebackType

from ....cli.user_errors import describe_error
from ....tokenizer.errors import WorkFailedError
from ....tokenizer.wording import list_first
from .dispatcher import Worker
from .launch import JOINED_WITHIN, RANK, Hello, Launch, check_same_versions, keep_alive, listen
from .messages import Ended

LATE_WITHIN = 15.0
"""Seconds that a failure waits for processes which have not joined yet."""

ACCEPTS_AGAIN = 0.1


class Meeting:
    """The other processes of a launch; a context manager that tells them how its body ends."""

    def __init__(self, launch: Launch, device_type: str):
        self._launch = launch
        self._own = launch.hello(device_type)
        self._listener, self._key, self._store = listen(launch)
        self._is_over = False
        self._changed = threading.Condition()
        self._joined: dict[int, tuple[Hello, Worker]] = {}
        threading.Thread(target=self._accept, name="vistok-meeting", daemon=True).start()

    def __enter__(self) -> "Meeting":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        name = self._launch.name
        if isinstance(error, Exception):
            said = describe_error(error)
            ended = Ended(said if said.startswith(RANK) else f"{name}: {said}")
        else:
            ended = Ended(f"{name} was interrupted: run the same command again to continue." if error else "")
        with self._changed:
            if isinstance(error, Exception):  # those that are still on their way are told too
                self._changed.wait_for(lambda: len(self._joined) == self._launch.world_size - 1, LATE_WITHIN)
            for _, worker in self._joined.values():
                worker.send(ended)
        self._is_over = True
        self._listener.close()

    def workers(self) -> list[Worker]:
        """Wait for all processes and return them; raise WorkFailedError when one is missing, ValueError when one differs."""
        until = time.monotonic() + JOINED_WITHIN
        with self._changed:
            while len(self._joined) < self._launch.world_size - 1:
                if not self._changed.wait(until - time.monotonic()):
                    missing = sorted(set(range(1, self._launch.world_size)) - self._joined.keys())
                    ranks = list_first(list(map(str, missing)), 5)
                    raise WorkFailedError(
                        f"After {JOINED_WITHIN:.0f} seconds rank {ranks} had not joined: see what it says."
                    )
            for greeting, _ in self._joined.values():
                check_same_versions(greeting, self._own)
            return [worker for _, worker in self._joined.values()]

    def _accept(self) -> None:
        """Let each join in a thread of its own: somebody else, such as a scan of ports, may connect and say nothing."""
        while not self._is_over:
            try:
                connection = self._listener.accept()
            except OSError:  # the listener is closed, or the connection is gone already
                time.sleep(ACCEPTS_AGAIN)
                continue
            threading.Thread(target=self._join, args=(connection,), name="vistok-joining", daemon=True).start()

    def _join(self, connection: Connection) -> None:
        try:
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            keep_alive(connection)
            greeting: Hello = connection.recv()
        except (AuthenticationError, EOFError, OSError):  # somebody else, or one that has ended
            connection.close()
            return
        with self._changed:
            self._joined[greeting.rank] = greeting, Worker(greeting.name, connection)
            self._changed.notify_all()
