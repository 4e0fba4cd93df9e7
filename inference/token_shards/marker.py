"""One driver at a time on a store that has no locks: a marker file with a heartbeat."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from ...cli.printing import say
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.folder_lock import FolderBusyError

MARKER_FILE = ".vistok.lock"
BEATS = "vistok-marker"
"""Name of the thread that gives signs."""
MAX_SKEW = 300.0
"""Seconds by which the clocks of two machines may differ."""

LEAVES_WITHIN = 60.0
"""Seconds within which the marker is removed at the end; one that stays is stale by then."""


class Pace(NamedTuple):
    """How often a driver gives a sign of life."""

    beat: float = 10.0
    """Seconds between two signs."""
    stale: float = 60.0
    """Seconds without a sign after which a driver counts as killed, and its output is taken over."""
    settle: float = 1.0
    """Seconds after which a driver looks whether another began at the same moment."""
    watches: bool = True
    """Whether to wait for a sign, or to believe the clock of the other driver."""


class MarkedFolder(Protocol):
    """The marker of a folder; the methods raise OSError when the last of several tries has failed."""

    def __str__(self) -> str:
        """Return the folder as users know it."""

    def read_marker(self) -> bytes | None:
        """Return its content, or None when there is none."""

    def write_marker(self, content: bytes) -> None:
        """Replace it."""

    def remove_marker(self) -> None:
        """Remove it."""


class Ownership:
    """Whether this process is still the driver of a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._other = ""
        self.ended = threading.Event()
        """Set when this process needs the folder no more."""
        self.is_unreachable = False
        """Whether the store has vanished, so that the marker stays."""

    def lose(self, other: str) -> None:
        """Note the driver that has taken over."""
        self._other = other

    def check(self) -> None:
        """Raise WorkFailedError when another driver has taken over."""
        if self._other:
            raise WorkFailedError(
                f"{self._folder} was taken over by {self._other}: run the same command again when that has ended."
            )


@contextmanager
def hold_marker(folder: MarkedFolder, who: str, pace: Pace) -> Iterator[Ownership]:
    """Keep a marker in a folder, with a sign of life in every beat; a killed driver's is taken over.

    Raises FolderBusyError, with the process and the host of the holder, and OSError when the marker cannot be written.
    """
    ours = {"command": who, "pid": os.getpid(), "host": socket.gethostname(), "machine": _machine()}
    ours["id"] = uuid.uuid4().hex
    _wait_for(folder, pace)
    folder.write_marker(_content(ours))
    time.sleep(pace.settle)
    found = folder.read_marker()
    if not _is_ours(found, ours):
        raise _busy(folder, found, pace)
    ownership = Ownership(str(folder))
    beats = threading.Thread(target=_beat, args=(folder, ours, pace, ownership), name=BEATS, daemon=True)
    beats.start()
    try:
        yield ownership
    except OSError as error:
        if str(error.filename or "").startswith(str(folder)):
            ownership.is_unreachable = True  # a marker that stays is stale, and tries to remove it would take long
        raise
    finally:
        ownership.ended.set()
        if not ownership.is_unreachable:
            beats.join(LEAVES_WITHIN)


def _beat(folder: MarkedFolder, ours: dict[str, object], pace: Pace, ownership: Ownership) -> None:
    """Give signs, and at the end remove the marker: only one thread writes it, so that no late sign brings it back."""
    while not ownership.ended.wait(pace.beat):
        with suppress(OSError):  # the next beat tries again, long before this one is missed
            found = folder.read_marker()
            if found is not None and not _is_ours(found, ours):
                ownership.lose(_holder(found))
                return
            folder.write_marker(_content(ours))
    with suppress(OSError):
        if not ownership.is_unreachable and _is_ours(folder.read_marker(), ours):
            folder.remove_marker()


def _wait_for(folder: MarkedFolder, pace: Pace) -> None:
    """Return when there is no driver, or one that was killed; raise FolderBusyError for one that gives a sign."""
    found = folder.read_marker()
    if found is None or _is_dead(found):
        return
    age = time.time() - _number(found, "time")
    if not pace.watches:
        if age < pace.stale:
            raise _busy(folder, found, pace)
        return
    if age > pace.stale + MAX_SKEW:
        return
    say(f"{folder} was being written to by {_holder(found)}: waiting {pace.stale:.0f} s for a sign of it", aside=True)
    until = time.monotonic() + pace.stale
    while time.monotonic() < until:
        time.sleep(min(pace.beat, pace.stale) / 4)
        now = folder.read_marker()
        if now is None:
            return
        if now != found:
            raise _busy(folder, now, pace)


def _content(ours: dict[str, object]) -> bytes:
    return json.dumps(ours | {"time": time.time()}).encode()


def _is_ours(content: bytes | None, ours: dict[str, object]) -> bool:
    return content is not None and _facts(content).get("id") == ours["id"]


def _is_dead(content: bytes) -> bool:
    """Return whether a driver of this machine has ended, as far as that can be known."""
    facts = _facts(content)
    pid = facts.get("pid")
    if not facts.get("machine") or facts["machine"] != _machine() or type(pid) is not int:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _machine() -> str:
    """Return what two processes share that see each other's ids, "" where that is not known."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _busy(folder: MarkedFolder, content: bytes | None, pace: Pace) -> FolderBusyError:
    holder = _holder(content or b"")
    busy = FolderBusyError(
        f"{folder} is being written to by {holder}: wait until it has ended, or use another folder (one that was killed is "
        f"taken over {pace.stale:.0f} s after its last sign)."
    )
    busy.holder = holder
    return busy


def _holder(content: bytes) -> str:
    facts = _facts(content)
    named = all(name in facts for name in ("command", "pid", "host"))
    return f"{facts['command']} (pid {facts['pid']} on {facts['host']})" if named else "another command"


def _number(content: bytes, name: str) -> float:
    value = _facts(content).get(name)
    return float(value) if isinstance(value, int | float) else time.time()


def _facts(content: bytes) -> dict[str, object]:
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
