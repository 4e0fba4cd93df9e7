"""What verify-tokens says: a table of the checks, and a line for each problem."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from ...images.file_entry import printable
from ...tokenizer.wording import pluralize
from ..token_shards.manifest import Manifest
from .deep import DeepReport
from .problems import CHECKS, Problem

WIDTH = 80


class Report(NamedTuple):
    """All that was found in a folder."""

    folder: str
    manifest: Manifest | None
    shards: int
    """Sidecars."""
    files: int
    size: int
    """Bytes of the files."""
    rows: int
    problems: list[Problem]
    deep: DeepReport | None
    grids_note: str
    """Why the grids were not compared; empty when they were."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything, for a program."""
        checked = {name: sum(problem.check == name for problem in self.problems) for name in self._checks()}
        found: dict[str, Any] = {
            "folder": self.folder,
            "whole": not self.problems,
            "model": self.manifest and self.manifest.model,
            "fingerprint": self.manifest and self.manifest.fingerprint,
            "format": self.manifest and self.manifest.format,
            "shards": self.shards,
            "files": self.files,
            "bytes": self.size,
            "rows": self.rows,
            "checks": checked,
            "not_checked": {"grids": self.grids_note} if self.grids_note else {},
            "problems": [problem._asdict() for problem in self.problems],
        }
        if self.deep:
            rows = [
                row._asdict() | {"psnr": row.psnr if math.isfinite(row.psnr) else None} for row in self.deep.compared
            ]
            found["deep"] = {"rows": self.deep.rows, "decoded": self.deep.decoded, "compared": rows}
        return found

    def lines(self) -> list[str]:
        """Return lines for people; all but those of the problems have at most 80 columns."""
        lines = [*check_lines(self._checks(), CHECKS, self.problems), *self._deep_lines()]
        if self.grids_note:
            lines.append(f"grids were not compared with the sizes of the images: {self.grids_note}")
        shards = f"{pluralize(self.rows, 'row')} in {pluralize(self.shards, 'shard')}"
        return [*lines, *verdict_lines(self.folder, shards, self.size, CHECKS, self.problems)]

    def _checks(self) -> dict[str, str]:
        """Return how much each check that was made has looked at."""
        checked = {"manifest": "1", "sidecars": f"{self.shards:,}", "files": f"{self.files:,}"}
        if self.manifest:
            checked |= {"rows": f"{self.rows:,}", "grids": "-" if self.grids_note else f"{self.rows:,}"}
            checked["keys"] = f"{self.rows:,}"
        return checked | ({"deep": f"{self.deep.decoded:,}"} if self.deep else {})

    def _deep_lines(self) -> list[str]:
        if self.deep is None:
            return []
        rows, compared = self.deep.decoded, self.deep.compared
        if not compared:
            why = "no file in --source has name and SHA-256" if self.deep.has_sources else "name them with --source"
            return [f"sources   of none of {pluralize(rows, 'row')} found: {why}"]
        values = [row.psnr for row in compared]
        worst = min(compared, key=lambda row: row.psnr)
        finite = [value for value in values if math.isfinite(value)]
        average = f"{fmean(finite):.2f}" if finite else "infinite"
        agreement = fmean(row.agreement for row in compared)
        return [
            f"sources   of {len(compared):,} of {pluralize(rows, 'row')} found",
            f"tokens    {agreement:.2%} are the same when they are encoded again",
            f"PSNR      {average} dB on average, {min(values):.2f} to {max(values):.2f}; the lowest is",
            f"          {printable(worst.shard)}: {printable(worst.key)}",
        ]


def check_lines(checked: Mapping[str, str], checks: Mapping[str, str], problems: Sequence[Problem]) -> list[str]:
    """Return the table of what each check has looked at, and what it has found."""
    counts = Counter(problem.check for problem in problems)
    lines = [f"{'check':<10}{'of':<48}{'checked':>12}{'problems':>10}"]
    return lines + [f"{name:<10}{checks[name]:<48}{seen:>12}{counts[name]:>10,}" for name, seen in checked.items()]


def verdict_lines(
    folder: str, shards: str, size: int, checks: Mapping[str, str], problems: Sequence[Problem]
) -> list[str]:
    """Return a line for each problem, in the order of the checks, and one that says whether a folder is whole."""
    ordered = sorted(problems, key=lambda problem: list(checks).index(problem.check))
    is_whole = "whole" if not problems else f"not whole: {pluralize(len(problems), 'problem')}"
    return [
        *(f"  {problem.check:<10}{printable(problem.line())}" for problem in ordered),
        f"{printable(folder)} is {is_whole}, {shards}, {_bytes(size)}",
    ]


def _bytes(size: int) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000  # type: ignore[assignment]
    raise AssertionError
