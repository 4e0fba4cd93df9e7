"""Where a fit of a quantizer has got to, in a file, so that a kill costs no more than a few steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..checkpoints.checked_file import load_checked, save_checked

FIT_FILE = "fit.pt"


class FitStates(NamedTuple):
    """Keeps the newest states of one fit; those that were written under another key are not taken up."""

    path: Path
    key: str
    every: int
    """Steps between files."""
    warn: Callable[[str], None]

    def load(self) -> tuple[int, Any] | None:
        """Return the step and the states to go on from, or None to begin."""
        try:
            found = load_checked(self.path)
        except ValueError as error:
            self.warn(f"{error} The fit begins anew.")
            return None
        return (found["step"], found["states"]) if found is not None and found["key"] == self.key else None

    def save(self, step: int, states: Any) -> None:
        """Write the states after `step` steps; raise OSError when the disk refuses."""
        save_checked(self.path, {"key": self.key, "step": step, "states": states})
