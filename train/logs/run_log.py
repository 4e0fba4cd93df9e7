"""The log of a run: metrics.jsonl, timing.jsonl, trackers and console, with each scalar under its path."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import Accelerator
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.table import Column, Table

from ...cli.printing import escape_unprintable, fit_to_terminal
from ...cli.progress import ProgressLine
from .log_file import LogFile, LogState
from .trackers import track_scalars

METRICS_FILE = "metrics.jsonl"
"""It depends on the config alone: a run that was killed and resumed ends with the same bytes as one that was not."""
TIMING_FILE = "timing.jsonl"
CLOCK = "time/"

CONSOLE = {
    "loss/total": "loss {:.4g}",
    "discriminator/loss": "disc {:.3f}",
    "codebook/usage": "usage {:.0%}",
    "codebook/perplexity": "ppl {:,.0f}",
    "optimizer/lr": "lr {:.1e}",
    "time/images_per_second": "{:.1f} img/s",
    "validation/psnr": "validation psnr {:.2f}",
}
"""Scalars on the console, by path, in one line of 80 columns. The files have all scalars."""

PATTERN_WIDTH = 40
"""Columns for the pattern, so that the table fits in 80."""


class Verbosity(NamedTuple):
    """How much a run prints, and where."""

    quiet: bool = False
    """Whether to print neither progress nor scalars, but warnings alone."""
    on_stderr: bool = False
    """Whether to print to standard error, and leave standard output to a summary."""

    def console(self, is_main_process: bool = True) -> Console:
        """Return the console to print to; processes other than the main one print nothing."""
        return Console(stderr=self.on_stderr, highlight=False, quiet=not is_main_process)


VERBOSE = Verbosity()


class RunLog:
    """Writes a line of scalars per call, on the main process only."""

    def __init__(
        self,
        accelerator: Accelerator,
        folder: Path,
        start_step: int,
        steps: int,
        batch_size: int = 1,
        verbosity: Verbosity = VERBOSE,
    ):
        self._accelerator = accelerator
        self._start_step = start_step
        self._files = {name: LogFile(folder / name) for name in (METRICS_FILE, TIMING_FILE)}
        self._steps = steps
        self._batch_size = batch_size
        self._quiet = verbosity.quiet
        self._console = verbosity.console(accelerator.is_main_process)
        self.is_quiet = verbosity.quiet or not accelerator.is_main_process
        """Whether to show no progress."""
        self.progress = ProgressLine("images", steps * batch_size, self.is_quiet)
        """The progress of the run, a context in which it is shown."""

    def print_start(self) -> None:
        """Print the step from which a run resumes."""
        if self._start_step and not self._quiet:
            left = "resuming from there" if self._start_step < self._steps else "set more steps to continue"
            self._print(f"{self._start_step} of {self._steps} steps were done before: {left}", markup=False)

    def restore(self, states: Mapping[str, Sequence[int]], later: int) -> None:
        """Restore the files to their states at the start step, as `flush` returned them; steps up to `later` run again."""
        if self._accelerator.is_main_process:
            for name, file in self._files.items():
                for warning in file.restore(self._start_step, LogState(*states.get(name, ())), later):
                    self.warn(warning)

    def flush(self) -> dict[str, LogState]:
        """Flush all lines to the disk, and return the state of each file; nothing on other processes than the main one."""
        return {name: file.flush() for name, file in self._files.items() if self._accelerator.is_main_process}

    def advance(self, step: int, doing: str = "") -> None:
        """Show the progress of the run, and what it does besides training."""
        self.progress.update(step * self._batch_size, note=f"step {step}/{self._steps} {doing}".rstrip())

    def write(self, step: int, scalars: Mapping[str, float], alarms: Sequence[str] = ()) -> None:
        """Append the scalars and alarms of `step` to the files and the trackers, and show them."""
        if not self._accelerator.is_main_process:
            return
        clock = {name: value for name, value in scalars.items() if name.startswith(CLOCK)}
        lasting = {name: value for name, value in scalars.items() if name not in clock}
        self._files[METRICS_FILE].append({"step": step, **lasting, **({"alarms": list(alarms)} if alarms else {})})
        if clock:
            self._files[TIMING_FILE].append({"step": step, **clock})
        for warning in track_scalars(self._accelerator, scalars, step):
            self.warn(warning)
        if not self._quiet:
            shown = " ".join(text.format(scalars[name]) for name, text in CONSOLE.items() if name in scalars)
            self._print(f"[bold]{step:>{len(str(self._steps))}}/{self._steps}[/bold] {shown.replace('e-0', 'e-')}")
        for alarm in alarms:
            self.warn(alarm)

    def say(self, sentence: str) -> None:
        """Show a sentence, unless the run is quiet."""
        if not self._quiet:
            self._print(sentence, markup=False)

    def warn(self, sentence: str) -> None:
        """Show a warning."""
        warning = fit_to_terminal(f"warning: {escape_unprintable(sentence)}", self._console.file)
        self._print(warning, style="yellow", markup=False, soft_wrap=True)

    def print_routing(self, rows: list[tuple[str, str, int, int]]) -> None:
        """Print which optimizer updates which parameters."""
        if self._quiet:
            return
        table = Table(Column("parameters", overflow="fold"), "optimizer", "tensors", "values", title="Optimizers")
        for pattern, optimizer, tensors, values in rows:
            table.add_row(_wrapped(pattern), optimizer, str(tensors), f"{values:,}")
        self._print(table)

    def _print(self, what: object, **settings: Any) -> None:
        if self._console.is_terminal and not self._quiet:  # the progress bar is on this line
            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
        self._console.print(what, **settings)


def _wrapped(pattern: str) -> str:
    """Break a regular expression between its parts into rows of at most PATTERN_WIDTH."""
    rows = [""]
    for part in re.split(r"(?<=\|)|(?=\\\.)", pattern):
        if rows[-1] and len(rows[-1]) + len(part) > PATTERN_WIDTH:
            rows.append("")
        rows[-1] += part
    return "\n".join(rows)
