"""How much a run prints, and where."""

from typing import NamedTuple

from rich.console import Console


class Verbosity(NamedTuple):
    """What to print."""

    quiet: bool = False
    """Whether to print neither progress nor scalars, but warnings alone."""
    on_stderr: bool = False
    """Whether to print to standard error, and leave standard output to a summary."""

    def console(self, is_main_process: bool = True) -> Console:
        """Return the console to print to; processes other than the main one print nothing."""
        return Console(stderr=self.on_stderr, highlight=False, quiet=not is_main_process)


VERBOSE = Verbosity()
"""Print everything, to standard output."""
