"""Ctrl-C and SIGTERM in commands: always one sentence, whenever they arrive and however often."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import FrameType
from typing import NoReturn

from ..tokenizer.retries import give_up_retries

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PASSED_ON = 5.0
"""Seconds within which a second signal is the first one again, passed on by a launcher of several processes."""
START_OVER = ("evaluate-tokenizer", "export-tokenizer", "import-tokenizer")
"""Commands that keep nothing of what they have done; the others go on from there."""


class Interruption:
    """Raises KeyboardInterrupt for the first signal while the command works; a second signal ends the process.

    So does a first one outside the work, where nothing would catch it, or in an import, since many libraries break there. A
    process that a launcher started gets one signal several times, and ignores the others for PASSED_ON seconds.
    """

    def __init__(self, command: str):
        self._command = command
        self._process = os.getpid()
        self._raised = False
        self._raised_at = 0.0
        self._delays = 0
        self._is_pending = False

    @contextmanager
    def delaying(self) -> Iterator[None]:
        """Delay a first signal until the outermost body has ended; ignore a second one."""
        self._delays += 1
        try:
            yield
        finally:
            self._delays -= 1
        if self._is_pending and not self._delays and not self._raised:
            self._raise()

    def report(self) -> None:
        """Print the sentence; later signals end the process without another one."""
        _set_handlers(signal.SIG_IGN)
        with suppress(OSError, ValueError):
            then = "start over" if self._command in START_OVER else "continue"
            print(f"{self._command}: interrupted: run the same command again to {then}.", file=sys.stderr)
        _set_handlers(_exit_now)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt or end the process, as the class says."""
        if os.getpid() != self._process:  # a forked worker gets the default behaviour back
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._delays:
            self._is_pending = True
        elif self._raised and "LOCAL_RANK" in os.environ and time.monotonic() - self._raised_at < PASSED_ON:
            return
        elif self._raised or self not in _working or _is_importing(frame):
            self.report()
            _exit_now()
        else:
            self._raise()

    def _raise(self) -> NoReturn:
        self._raised, self._raised_at = True, time.monotonic()
        give_up_retries()  # a thread that waits would keep the command from ending
        raise KeyboardInterrupt


_of_process: list[Interruption] = []
_working: list[Interruption] = []


def install_for_process(command: str) -> None:
    """Handle the signals until the process ends; `interruptible` then uses these handlers."""
    _of_process.append(Interruption(command))
    _set_handlers(_of_process[-1].handle)
    # After all threads have ended, Python restores the system's handlers, which would change the exit code.
    atexit.register(_set_handlers, signal.SIG_IGN)


@contextmanager
def interruptible(command: str) -> Iterator[Interruption]:
    """Handle the signals within the body and restore the previous handlers; does nothing outside the main thread."""
    if not _in_main_thread():
        yield Interruption(command)
        return
    interruption = _of_process[-1] if _of_process else Interruption(command)
    before = {} if _of_process else {number: signal.signal(number, interruption.handle) for number in SIGNALS}
    _working.append(interruption)
    give_up_retries(False)
    try:
        yield interruption
    finally:
        _working.remove(interruption)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def delay_signals() -> AbstractContextManager[None]:
    """Delay a signal until the body has ended, for work that must not be left half done."""
    return _working[-1].delaying() if _working and _in_main_thread() else nullcontext()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _set_handlers(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _exit_now(*_: object) -> None:
    os._exit(1)
