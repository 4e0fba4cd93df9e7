"""How much a training says, and where."""

from typing import NamedTuple

from rich.console import Console


class Verbosity(NamedTuple):
    """What the options of a command ask for."""

    quiet: bool = False
    """Neither progress nor lines of scalars; warnings are told."""
    on_stderr: bool = False
    """Standard output belongs to the summary."""

    def console(self, is_main_process: bool = True) -> Console:
        """Return where things are told; other processes than the main one say nothing."""
        return Console(stderr=self.on_stderr, highlight=False, quiet=not is_main_process)


VERBOSE = Verbosity()
"""A training says all, on standard output."""
