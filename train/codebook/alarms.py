"""Alarms about a codebook: what goes wrong, what shows it, and what to try."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ...evaluation.usage import Usage
from ...tokenizer.wording import pluralize
from .remedies import FSQ, KMEANS, LOWER_LR, MORE_COMMITMENT, NO_SCALE, STRAIGHT_THROUGH, Remedies
from .usage_alarms import FRESH, Finding, UsageAlarms

OVER = 5
"""Windows without a finding until it counts as over, so that a value around its limit is one alarm."""
MAX_LENGTH_RATIO = 5.0
"""Factor between the lengths of codes and latents, either way, that counts as mismatched."""
MAX_OBTUSE = 0.25
"""Fraction of latents at more than a right angle to their codes that is too much."""
UNEXPLAINED = 0.5
"""Fraction of the latents' variance that the codes miss, from which growth is an alarm."""
DISTORTION_GROWTH = 2.0
"""Growth of that fraction over its minimum that is an alarm."""
FLAT = 2.5
"""Effective rank up to which codes lie on a line or close to a plane."""
FLAT_FRACTION = 0.3
"""The same as a fraction of the directions that the codes could have, where those are few."""


class Directions(NamedTuple):
    """How many directions the codes of a codebook can vary in."""

    path: str
    """Log path of its values: `codebook`, or `codebook/0` and so on."""
    dim: int
    codes: int
    """Max number of different codes: those that there are, or the tokens when these are fewer."""


class CodebookAlarms:
    """Checks the statistics of each window, and reports a finding when it begins, and again only after it was over.

    Distortion and directions are checked from step FRESH on. The state goes into the checkpoint.
    """

    def __init__(self, codes: int, remedies: Remedies):
        self._usage = UsageAlarms(codes, remedies)
        self._remedies = remedies
        self._min_distortion = (float("inf"), 0)  # as a fraction of the variance, and its step
        self._active: dict[str, int] = {}  # windows since each finding was last found

    def check(
        self, step: int, values: Mapping[str, float], counts: Tensor, usages: list[Usage], directions: list[Directions]
    ) -> list[str]:
        """Return the alarms that begin in the window that ended at `step`, each a sentence.

        `values` are the monitor's, by log path; `counts` are the window's, a row for each codebook, as `usages`.
        """
        found = [
            *self._usage.check(step, counts, usages),
            *self._lengths(values["codebook/length_ratio"]),
            *self._angles(values["codebook/obtuse"]),
            *self._distortion(step, values["codebook/relative_distortion"]),
        ]
        if step >= FRESH:
            found += [finding for each in directions for finding in self._flat(values, each)]
        new = [finding for finding in found if finding.name not in self._active]
        since = {name: windows + 1 for name, windows in self._active.items() if windows + 1 < OVER}
        self._active = since | {finding.name: 0 for finding in found}
        return _sentences(new)

    def state_dict(self) -> dict[str, Any]:
        return {"usage": self._usage.state_dict(), "min_distortion": self._min_distortion, "active": self._active}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._usage.load_state_dict(state["usage"])
        self._min_distortion = tuple(state["min_distortion"])
        self._active = dict(state["active"])

    def _lengths(self, ratio: float) -> Iterator[Finding]:
        if not 1 / MAX_LENGTH_RATIO <= ratio <= MAX_LENGTH_RATIO:
            which = f"{1 / max(ratio, 1e-9):.0f} times shorter" if ratio < 1 else f"{ratio:.0f} times longer"
            why = "gradients that are scaled by this ratio are wrong by the same factor"
            yield Finding(
                "lengths",
                f"codes are {which} than their latents (|q|/|z| is {ratio:.2g}): "
                f"{'they do not fit each other' if self._remedies.is_straight_through else why}; try "
                f"{self._remedies.joined(KMEANS, MORE_COMMITMENT, NO_SCALE)}.",
            )

    def _angles(self, obtuse: float) -> Iterator[Finding]:
        if obtuse > MAX_OBTUSE:
            why = "a rotated gradient points the wrong way there"
            yield Finding(
                "angles",
                f"{obtuse:.0%} of the latents are at more than a right angle to their codes: "
                f"{'these do not fit them' if self._remedies.is_straight_through else why}; try "
                f"{self._remedies.joined(KMEANS, MORE_COMMITMENT, STRAIGHT_THROUGH)}.",
            )

    def _distortion(self, step: int, missed: float) -> Iterator[Finding]:
        lowest, lowest_step = self._min_distortion
        if missed < lowest:
            self._min_distortion = (missed, step)
        elif step >= FRESH and missed > max(UNEXPLAINED, DISTORTION_GROWTH * lowest):
            yield Finding(
                "distortion",
                f"distortion grew from {lowest:.2g} of the latents' variance at step {lowest_step} to {missed:.2g}: the "
                f"latents move away from their codes; try {self._remedies.joined(MORE_COMMITMENT, LOWER_LR)}.",
            )

    def _flat(self, values: Mapping[str, float], directions: Directions) -> Iterator[Finding]:
        """Report codes near a line or a plane that could vary in more directions."""
        rank = values.get(f"{directions.path}/effective_rank")
        # k codes span at most k - 1 directions.
        limit = min(FLAT, FLAT_FRACTION * min(directions.dim, directions.codes - 1))
        if rank is None or not 0 < rank < limit:
            return
        latents = values[f"{directions.path}/latent_effective_rank"]
        index = directions.path.partition("/")[2]
        whose = f"the codes of codebook {index}" if index else "the codes"
        advice = (
            f"the codes lie flat among the latents; try {self._remedies.joined(KMEANS, LOWER_LR, FSQ)}"
            if rank < latents / 2
            else "encoder and codebook no longer use the others; try "
            f"{self._remedies.joined(LOWER_LR, 'fewer latent channels', FSQ)}"
        )
        yield Finding(
            f"flat {directions.path}",
            f"{whose} vary in {rank:.1f} of {directions.dim} directions (effective rank), their latents in {latents:.1f}: "
            f"{advice}.",
        )


def _sentences(findings: list[Finding]) -> list[str]:
    """Return a sentence per kind of finding: the first of its codebooks, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.name.partition(" ")[0], []).append(finding.sentence)
    return [
        first if not others else f"{first.removesuffix('.')} ({pluralize(len(others), 'more codebook')} alike)."
        for first, *others in kinds.values()
    ]
