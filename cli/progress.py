"""Progress of a command: a bar on a terminal, elsewhere a line every 30 seconds."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import suppress
from typing import TypeVar

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

HIDDEN_FOR = 1.0
"""Seconds before anything is shown."""
REDRAWN_EVERY = 0.25
"""Seconds between redraws on a terminal."""
LINE_EVERY = 30.0
"""Seconds between lines without a terminal."""
MEASURED_FOR = 2.0
"""Seconds of measurement before the rate and the time left are shown."""
WIDEST_BAR = 30
NARROWEST_BAR = 8
Item = TypeVar("Item")


class ProgressLine:
    """Shows counts, rate and time left on standard error while its body runs; nothing when `quiet`."""

    def __init__(self, unit: str = "images", total: int | None = None, quiet: bool = False):
        self._unit = unit
        self._total = total
        self._note = ""
        self._done = 0
        self._measured_from: tuple[float, int] | None = None
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._ended = threading.Event()
        self._thread = None if quiet else threading.Thread(target=self._show, name="progress", daemon=True)

    def __enter__(self) -> "ProgressLine":
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Set the total done so far; cheap and thread-safe. The rate is measured from the first call."""
        if self._measured_from is None:
            self._measured_from = (time.monotonic(), done)
        self._done, self._note = done, note
        if total is not None:
            self._total = total

    def note(self, text: str) -> None:
        """Show a text before counting begins, without starting the measurement of the rate."""
        self._note = text

    def text(self, width: int) -> str:
        """Return counts, time left, rate and note, as far as they fit into `width` characters, without the bar."""
        done, total = self._done, self._total
        parts = [f"{done:,} {self._unit}" if total is None else f"{done:,}/{total:,} {self._unit}"]
        started, before = self._measured_from or (time.monotonic(), done)
        seconds = time.monotonic() - started
        rate = max(0, done - before) / seconds if seconds >= MEASURED_FOR else 0.0
        left = f"{_clock((total - done) / rate)} left" if rate and total is not None else ""
        speed = f"{_rounded(rate)} per second" if rate else ""
        for part in (left, speed, self._note):
            if part and len("  ".join([*parts, part])) <= width:
                parts.append(part)
        return "  ".join(parts) if len(parts[0]) <= width else ""

    def _show(self) -> None:
        with suppress(OSError, ValueError, SystemExit):  # standard error is closed
            if not self._console.is_interactive:
                while not self._ended.wait(LINE_EVERY):
                    print(self.text(10_000), file=sys.stderr, flush=True)
            elif not self._ended.wait(HIDDEN_FOR):
                self._draw()
                while not self._ended.wait(REDRAWN_EVERY):
                    self._draw()
                self._clear()

    def _draw(self) -> None:
        width = self._console.width - 1  # using the last column would wrap the line
        text = self.text(width)
        room = min(WIDEST_BAR, width - len(text) - 2)
        line = Text()
        if self._total and room >= NARROWEST_BAR:
            full, rest = ("━", "─") if self._console.encoding.startswith("utf") else ("#", "-")
            filled = min(room, room * self._done // self._total)
            line.append(full * filled, "green").append(rest * (room - filled), "dim").append("  ")
        self._clear()
        self._console.print(line.append(text), end="")

    def _clear(self) -> None:
        self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))


def track(items: Iterable[Item], unit: str, total: int | None = None, quiet: bool = False) -> Iterator[Item]:
    """Yield the items and show how many are done; give `total` for items without a length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ProgressLine(unit, total, quiet) as progress:
        progress.update(0)
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done)


def _rounded(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
