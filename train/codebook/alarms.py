"""Alarms in words: what goes wrong with a codebook, how one sees it, and what to try."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ...tokenizer.wording import pluralize
from .spread_alarms import FRESH, Book, Finding, SpreadAlarms

LENGTH_RATIO = 5.0
"""Factor between the lengths of codes and latents, either way, that counts as mismatched."""
OBTUSE = 0.25
"""Fraction of latents at more than a right angle to their codes that is too much."""
UNEXPLAINED = 0.5
"""Fraction of the latents' variance that the codes miss from which growth counts as drifting apart."""
DISTORTION_GROWTH = 2.0
"""Growth of that fraction over its least value that does."""
FLAT = 2.5
"""Effective rank up to which codes lie on a line or close to a plane."""
FLAT_FRACTION = 0.3
"""The same as a fraction of the directions that they could have, where those are few."""
OVER = 5
"""Windows without a finding after which it has ended: one that hovers at its limit is told once."""


class Channels(NamedTuple):
    """What a codebook could vary in."""

    path: str
    """Where its values are: `codebook`, or `codebook/0` and so on."""
    dim: int
    codes: int
    """Codes at most: those that there are, or the tokens when these are fewer."""


class CodebookAlarms:
    """Looks at each window's statistics; says a thing when it begins, and again only after it has ended in between.

    Its state goes into the checkpoint.
    """

    def __init__(self) -> None:
        self._spread = SpreadAlarms()
        self._least_distortion = (float("inf"), 0)  # as a fraction of the variance, step
        self._standing: dict[str, int] = {}  # finding, and the windows since it was found last

    def check(
        self, step: int, values: Mapping[str, float], counts: Tensor, books: list[Book], channels: list[Channels]
    ) -> list[str]:
        """Return the alarms that begin in the window that ended at `step`, each a sentence.

        `values` are the monitor's, by log path; `counts` the window's, a row for each of `books`.
        """
        kmeans = "codebook.initialization: kmeans, " if all(book.can_set for book in books) else ""
        found = [
            *self._spread.check(step, counts, books),
            *self._lengths(values["codebook/length_ratio"], kmeans),
            *self._angles(values["codebook/obtuse"], kmeans),
            *self._distortion(step, values["codebook/relative_distortion"]),
            *(finding for each in channels for finding in _flat(step, values, each, kmeans)),
        ]
        beginning = [finding for finding in found if finding.name not in self._standing]
        since = {name: windows + 1 for name, windows in self._standing.items() if windows + 1 < OVER}
        self._standing = since | {finding.name: 0 for finding in found}
        return _told(beginning)

    def state_dict(self) -> dict[str, Any]:
        return {
            "spread": self._spread.state_dict(),
            "least_distortion": self._least_distortion,
            "standing": self._standing,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._spread.load_state_dict(state["spread"])
        self._least_distortion = tuple(state["least_distortion"])
        self._standing = dict(state["standing"])

    def _lengths(self, ratio: float, kmeans: str) -> list[Finding]:
        if 1 / LENGTH_RATIO <= ratio <= LENGTH_RATIO:
            return []
        which = f"{1 / max(ratio, 1e-9):.0f} times shorter" if ratio < 1 else f"{ratio:.0f} times longer"
        return [
            Finding(
                "lengths",
                f"codes are {which} than their latents (|q|/|z| is {ratio:.2g}): gradients that are scaled by this ratio "
                f"are off by as much; try {kmeans}{'or ' if kmeans else ''}gradient straight_through or rotation_no_scale.",
            )
        ]

    def _angles(self, obtuse: float, kmeans: str) -> list[Finding]:
        if obtuse <= OBTUSE:
            return []
        return [
            Finding(
                "angles",
                f"{obtuse:.0%} of the latents are at more than a right angle to their codes: a rotated gradient points "
                "the wrong way there; try gradient straight_through until the codebook fits"
                + (f", or {kmeans.rstrip(', ')}" if kmeans else "")
                + ".",
            )
        ]

    def _distortion(self, step: int, missed: float) -> list[Finding]:
        least, least_step = self._least_distortion
        if missed < least:
            self._least_distortion = (missed, step)
            return []
        if missed <= max(UNEXPLAINED, DISTORTION_GROWTH * least):
            return []
        return [
            Finding(
                "distortion",
                f"distortion grew from {least:.2g} of the latents' variance at step {least_step} to {missed:.2g}: latents "
                "run away from their codes; try a greater losses.commitment, or a lower optimizer.lr.",
            )
        ]


def _told(findings: list[Finding]) -> list[str]:
    """Return a sentence for each kind of finding: of many codebooks, the first is told and the others are counted."""
    kinds: dict[str, list[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.name.partition(" ")[0], []).append(finding.sentence)
    return [
        first if not others else f"{first.removesuffix('.')} ({pluralize(len(others), 'more codebook')} alike)."
        for first, *others in kinds.values()
    ]


def _flat(step: int, values: Mapping[str, float], channels: Channels, kmeans: str) -> list[Finding]:
    """Return a finding when the codes lie near a line or a plane though they could have more directions: k codes span k - 1."""
    rank = values.get(f"{channels.path}/effective_rank")
    limit = min(FLAT, FLAT_FRACTION * min(channels.dim, channels.codes - 1))
    if rank is None or step < FRESH or not 0 < rank < limit:
        return []
    latents = values[f"{channels.path}/latent_effective_rank"]
    number = channels.path.partition("/")[2]
    whose = f"the codes of codebook {number}" if number else "the codes"
    if rank < latents / 2:
        cure = f"the codes lie flat among the latents; try {kmeans}a lower optimizer.lr, or fsq"
    else:
        cure = "codebook and encoder have given up the others; try a lower optimizer.lr, fewer latent channels, or fsq"
    return [
        Finding(
            f"flat {channels.path}",
            f"{whose} vary in {rank:.1f} of {channels.dim} directions (effective rank), their latents in {latents:.1f}: "
            f"{cure}.",
        )
    ]
