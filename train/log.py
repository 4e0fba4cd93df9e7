"""The run's log: metrics.jsonl, the trackers and the console, each scalar under its path."""

import json
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console
from rich.table import Table

METRICS_FILE = "metrics.jsonl"

SHOWN = [
    ("loss/total", "loss", ".4f"),
    ("codebook/usage", "usage", ".1%"),
    ("codebook/perplexity", "perplexity", ",.0f"),
    ("optimizer/lr", "lr", ".1e"),
    ("time/pictures_per_second", "pictures/s", ".0f"),
    ("validation/psnr", "validation psnr", ".2f"),
]
"""Scalars on the console: path, label, format. All of them are in metrics.jsonl."""


class RunLog:
    """Writes one line of scalars a call, on the main process only."""

    def __init__(self, accelerator: Accelerator, folder: Path, start_step: int, steps: int):
        self._accelerator = accelerator
        self._path = folder / METRICS_FILE
        self._steps = steps
        self.console = Console(quiet=not accelerator.is_main_process)
        if accelerator.is_main_process:
            self._drop_lines_after(start_step)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Append the scalars of `step` to the file and the trackers, and show them."""
        if not self._accelerator.is_main_process:
            return
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")
        self._accelerator.log(scalars, step=step)
        shown = [f"{label} {scalars[name]:{form}}" for name, label, form in SHOWN if name in scalars]
        self.console.print(
            f"[bold]{step:>{len(str(self._steps))}}/{self._steps}[/bold]  {'  '.join(shown)}", highlight=False
        )

    def show_routing(self, rows: list[tuple[str, str, int, int]]) -> None:
        """Print which optimizer takes which parameters."""
        table = Table("parameters", "optimizer", "tensors", "values", title="Optimizers")
        for pattern, optimizer, tensors, values in rows:
            table.add_row(pattern, optimizer, str(tensors), f"{values:,}")
        self.console.print(table)

    def _drop_lines_after(self, step: int) -> None:
        # A run that was killed has logged steps that its newest checkpoint does not know; they will be logged again.
        if not self._path.exists():
            return
        lines = self._path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        if len(kept) != len(lines):
            aside = self._path.with_name(METRICS_FILE + ".part")
            aside.write_text("".join(kept))
            aside.replace(self._path)
