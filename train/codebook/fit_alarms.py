"""Alarms about codes that do not fit their latents: lengths, angles, distortion, directions."""

from collections.abc import Mapping
from typing import Any

from .findings import FRESH, Directions, Finding

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


class FitAlarms:
    """Checks how codes fit latents, over all codebooks together; it remembers the minimum of the distortion."""

    def __init__(self) -> None:
        self._min_distortion = (float("inf"), 0)  # as a fraction of the variance, and its step

    def check(self, step: int, values: Mapping[str, float], kmeans: str) -> list[Finding]:
        """Return what is wrong in the window that ended at `step`; `kmeans` names that remedy where it is one."""
        return [
            *_lengths(values["codebook/length_ratio"], kmeans),
            *_angles(values["codebook/obtuse"], kmeans),
            *self._distortion(step, values["codebook/relative_distortion"]),
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"min_distortion": self._min_distortion}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._min_distortion = tuple(state["min_distortion"])

    def _distortion(self, step: int, missed: float) -> list[Finding]:
        lowest, lowest_step = self._min_distortion
        if missed < lowest:
            self._min_distortion = (missed, step)
            return []
        if missed <= max(UNEXPLAINED, DISTORTION_GROWTH * lowest):
            return []
        return [
            Finding(
                "distortion",
                f"distortion grew from {lowest:.2g} of the latents' variance at step {lowest_step} to {missed:.2g}: the "
                "latents move away from their codes; try a higher losses.commitment, or a lower optimizer.lr.",
            )
        ]


def _lengths(ratio: float, kmeans: str) -> list[Finding]:
    if 1 / MAX_LENGTH_RATIO <= ratio <= MAX_LENGTH_RATIO:
        return []
    which = f"{1 / max(ratio, 1e-9):.0f} times shorter" if ratio < 1 else f"{ratio:.0f} times longer"
    return [
        Finding(
            "lengths",
            f"codes are {which} than their latents (|q|/|z| is {ratio:.2g}): gradients that are scaled by this ratio are "
            f"wrong by the same factor; try {kmeans}{'or ' if kmeans else ''}gradient straight_through or "
            "rotation_no_scale.",
        )
    ]


def _angles(obtuse: float, kmeans: str) -> list[Finding]:
    if obtuse <= MAX_OBTUSE:
        return []
    return [
        Finding(
            "angles",
            f"{obtuse:.0%} of the latents are at more than a right angle to their codes: a rotated gradient points the wrong "
            "way there; try gradient straight_through until the codebook fits"
            + (f", or {kmeans.rstrip(', ')}" if kmeans else "")
            + ".",
        )
    ]


def flat_codes(step: int, values: Mapping[str, float], directions: list[Directions], kmeans: str) -> list[Finding]:
    """Return the codebooks whose codes lie near a line or a plane though they could vary in more directions."""
    return [finding for each in directions for finding in _flat(step, values, each, kmeans)]


def _flat(step: int, values: Mapping[str, float], directions: Directions, kmeans: str) -> list[Finding]:
    rank = values.get(f"{directions.path}/effective_rank")
    # k codes span at most k - 1 directions.
    limit = min(FLAT, FLAT_FRACTION * min(directions.dim, directions.codes - 1))
    if rank is None or step < FRESH or not 0 < rank < limit:
        return []
    latents = values[f"{directions.path}/latent_effective_rank"]
    index = directions.path.partition("/")[2]
    whose = f"the codes of codebook {index}" if index else "the codes"
    if rank < latents / 2:
        advice = f"the codes lie flat among the latents; try {kmeans}a lower optimizer.lr, or fsq"
    else:
        advice = (
            "encoder and codebook no longer use the others; try a lower optimizer.lr, fewer latent channels, or fsq"
        )
    return [
        Finding(
            f"flat {directions.path}",
            f"{whose} vary in {rank:.1f} of {directions.dim} directions (effective rank), their latents in {latents:.1f}: "
            f"{advice}.",
        )
    ]
