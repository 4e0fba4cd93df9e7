"""Alarms in words: what goes wrong with a codebook, how one sees it, and what to try."""

from collections.abc import Mapping
from typing import Any, NamedTuple

COLLAPSE = 0.5
"""Share of the best usage so far below which usage has fallen."""
LOW_USAGE = 0.1
"""Share of the attainable usage below which a codebook hardly works."""
PATIENCE = 3
"""Windows that a codebook is given to come to life."""
LENGTH_RATIO = 5.0
"""Factor between the lengths of codes and latents, either way, that counts as mismatched."""
OBTUSE = 0.25
"""Share of codes at more than a right angle to their latents that is too much."""
DISTORTION_GROWTH = 4.0
"""Growth of the distortion over its least value that counts as drifting apart."""


class _Finding(NamedTuple):
    name: str
    sentence: str


class CodebookAlarms:
    """Looks at each window's statistics; says a thing when it begins, and again only after it has ended in between."""

    def __init__(self) -> None:
        self._windows = 0
        self._best_usage = (0.0, 0)  # share of what is attainable, step
        self._least_distortion = (float("inf"), 0)
        self._standing: list[str] = []

    def check(self, step: int, values: Mapping[str, float], codes: int) -> list[str]:
        """Return the alarms that begin in the window that ended at `step`, each a sentence.

        `values` are the monitor's, by log path; `codes` is the size of a codebook.
        """
        self._windows += 1
        found = [
            *self._usage(step, values["codebook/usage"], int(values["codebook/tokens"]), codes),
            *self._lengths(values["codebook/length_ratio"]),
            *self._angles(values["codebook/obtuse"]),
            *self._distortion(step, values["codebook/distortion"]),
        ]
        beginning = [finding.sentence for finding in found if finding.name not in self._standing]
        self._standing = [finding.name for finding in found]
        return beginning

    def state_dict(self) -> dict[str, Any]:
        return {
            "windows": self._windows,
            "best_usage": self._best_usage,
            "least_distortion": self._least_distortion,
            "standing": self._standing,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._windows = state["windows"]
        self._best_usage = tuple(state["best_usage"])
        self._least_distortion = tuple(state["least_distortion"])
        self._standing = list(state["standing"])

    def _usage(self, step: int, usage: float, tokens: int, codes: int) -> list[_Finding]:
        share = usage / attainable_usage(tokens, codes)
        best, best_step = self._best_usage
        if share > best:
            self._best_usage = (share, step)
            best = share
        if share < COLLAPSE * best:
            return [
                _Finding(
                    "collapse",
                    f"usage fell from {best:.0%} to {share:.0%} of what {tokens:,} tokens can use in {step - best_step} "
                    "steps: the codebook collapses; try codebook.revive_every, a lower optimizer.lr, or the quantizers "
                    "simvq or fsq.",
                )
            ]
        if share < LOW_USAGE and self._windows >= PATIENCE:
            return [
                _Finding(
                    "unused",
                    f"only {usage:.1%} of {codes:,} codes are in use at step {step}: most never come near a latent; try "
                    "codebook.initialise: kmeans, codebook.revive_every, or the quantizers simvq or fsq.",
                )
            ]
        return []

    def _lengths(self, ratio: float) -> list[_Finding]:
        if 1 / LENGTH_RATIO <= ratio <= LENGTH_RATIO:
            return []
        which = f"{1 / max(ratio, 1e-9):.0f} times shorter" if ratio < 1 else f"{ratio:.0f} times longer"
        return [
            _Finding(
                "lengths",
                f"codes are {which} than their latents (|q|/|z| is {ratio:.2g}): gradients that are scaled by this ratio "
                "are off by as much; try codebook.initialise: kmeans, or gradient straight_through or rotation_no_scale.",
            )
        ]

    def _angles(self, obtuse: float) -> list[_Finding]:
        if obtuse <= OBTUSE:
            return []
        return [
            _Finding(
                "angles",
                f"{obtuse:.0%} of the codes stand at more than a right angle to their latents: a rotated gradient points "
                "the wrong way there; try gradient straight_through until the codebook fits, or codebook.initialise: kmeans.",
            )
        ]

    def _distortion(self, step: int, distortion: float) -> list[_Finding]:
        least, least_step = self._least_distortion
        if distortion < least:
            self._least_distortion = (distortion, step)
            return []
        if distortion <= DISTORTION_GROWTH * least:
            return []
        return [
            _Finding(
                "distortion",
                f"distortion grew from {least:.3g} at step {least_step} to {distortion:.3g}: latents run away from their "
                "codes; try a greater losses.commitment, or a lower optimizer.lr.",
            )
        ]


def attainable_usage(tokens: int, codes: int) -> float:
    """Return the usage that `tokens` tokens have when all codes are equally likely: 1 - (1 - 1/k)^n."""
    return 1 - (1 - 1 / codes) ** max(1, tokens)
