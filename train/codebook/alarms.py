"""Alarms about a codebook: what goes wrong, what shows it, and what to try."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...tokenizer.wording import pluralize
from .findings import Directions, Finding, WatchedCodebook
from .fit_alarms import FitAlarms, flat_codes
from .usage_alarms import UsageAlarms

OVER = 5
"""Windows without a finding after which it is over, so that one that hovers at its limit is told once."""


class CodebookAlarms:
    """Checks the statistics of each window, and tells a finding when it begins.

    It is told again only after it was over in between. The state goes into the checkpoint.
    """

    def __init__(self) -> None:
        self._usage = UsageAlarms()
        self._fit = FitAlarms()
        self._active: dict[str, int] = {}  # windows since each finding was last found

    def check(
        self,
        step: int,
        values: Mapping[str, float],
        counts: Tensor,
        codebooks: list[WatchedCodebook],
        directions: list[Directions],
    ) -> list[str]:
        """Return the alarms that begin in the window that ended at `step`, each a sentence.

        `values` are the monitor's, by log path; `counts` are the window's, a row for each of `codebooks`.
        """
        kmeans = "codebook.initialization: kmeans, " if all(codebook.can_set for codebook in codebooks) else ""
        found = [
            *self._usage.check(step, counts, codebooks),
            *self._fit.check(step, values, kmeans),
            *flat_codes(step, values, directions, kmeans),
        ]
        new = [finding for finding in found if finding.name not in self._active]
        since = {name: windows + 1 for name, windows in self._active.items() if windows + 1 < OVER}
        self._active = since | {finding.name: 0 for finding in found}
        return _sentences(new)

    def state_dict(self) -> dict[str, Any]:
        return {"usage": self._usage.state_dict(), "fit": self._fit.state_dict(), "active": self._active}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._usage.load_state_dict(state["usage"])
        self._fit.load_state_dict(state["fit"])
        self._active = dict(state["active"])


def _sentences(findings: list[Finding]) -> list[str]:
    """Return a sentence per kind of finding: the first of its codebooks, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.name.partition(" ")[0], []).append(finding.sentence)
    return [
        first if not others else f"{first.removesuffix('.')} ({pluralize(len(others), 'more codebook')} alike)."
        for first, *others in kinds.values()
    ]
