"""Ctrl-C and SIGTERM in commands: one sentence, whenever they come and however often."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TYPE_CHECKING = False  # as in typing, whose import would take longer than everything else here
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE = 1


class Interruption:
    """Raises KeyboardInterrupt for the first signal while the command works; a second one ends the process.

    So does one before or after that, when nothing would turn the exception into a sentence, and one during an import:
    libraries do not bear an exception half-way through theirs.
    """

    def __init__(self, command: str):
        self._command = command
        self._process = os.getpid()
        self._raised = False
        self._is_working = False
        self._is_held_back = False
        self._is_waiting = False

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let signals raise within the body, which must answer KeyboardInterrupt."""
        self._is_working = True
        _working.append(self)
        try:
            yield
        finally:
            self._is_working = False
            _working.remove(self)

    @contextmanager
    def holding_back(self) -> Iterator[None]:
        """Let signals wait until the body has ended; a first one raises then, a second one is forgotten."""
        outer, self._is_held_back = self._is_held_back, True
        try:
            yield
        finally:
            self._is_held_back = outer
            waited = self._is_waiting and not outer
            self._is_waiting = self._is_waiting and outer
        if waited and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def install(self) -> "dict[int, Any]":
        """Handle the signals from now on and return the handlers before; main thread only."""
        return {number: signal.signal(number, self._handle) for number in SIGNALS}

    def tell(self) -> None:
        """Print the sentence; from now on a signal ends the process without another one."""
        _answer_with(signal.SIG_IGN)
        with suppress(OSError, ValueError):
            print(f"{self._command}: interrupted: give the same command again to go on.", file=sys.stderr)
        _answer_with(_leave)

    def _handle(self, number: int, frame: "FrameType | None") -> None:
        if os.getpid() != self._process:  # a forked worker: it does what it would have done without us
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._is_held_back:
            self._is_waiting = True
        elif self._raised or not self._is_working or _importing(frame):
            self.tell()
            _leave()
        else:
            self._raised = True
            raise KeyboardInterrupt


_of_process: list[Interruption] = []
_working: list[Interruption] = []


def install_for_process(command: str) -> None:
    """Handle the signals until the process ends; `interruptible` joins in."""
    _of_process.append(Interruption(command))
    _of_process[-1].install()
    # Once all threads have ended, Python puts the system's own handlers back, and those would spoil the exit code.
    atexit.register(_answer_with, signal.SIG_IGN)


@contextmanager
def interruptible(command: str) -> Iterator[Interruption]:
    """Handle the signals within the body, and restore the handlers before; in other threads, leave them alone."""
    if _of_process:
        with _of_process[-1].working():
            yield _of_process[-1]
        return
    interruption = Interruption(command)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = interruption.install()
    try:
        with interruption.working():
            yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal that comes within the body of a command wait for its end: for what must not be done by halves."""
    if not _working or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _working[-1].holding_back():
        yield


def _answer_with(handler: "Any") -> None:
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, handler)


def _importing(frame: "FrameType | None") -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _leave(*_: "Any") -> None:
    os._exit(EXIT_CODE)
