"""What the laws of lr_scaling.py may be given: errors that say what to change."""

import math
from collections.abc import Collection, Mapping

HINTS = {
    "noise_scale": "linear and sqrt take no measurement of the gradient",
    "beta": "linear and sqrt hold for any momentum",
    "nesterov": "adabelief has plain momentum, linear and sqrt hold for any",
    "curvature_ratio": "only laws of steps that are scaled by coordinate ask for it",
    "epsilon_ratio": "only adam and adabelief have an epsilon",
}
AT_LEAST_0 = ("lr", "noise_scale", "epsilon_ratio")


def check_given(rule: str, takes: Collection[str], given: Mapping[str, float | None]) -> None:
    """Raise ValueError when a rule lacks the noise scale that it needs, or gets a value (not None) that it does not take."""
    if "noise_scale" in takes and given.get("noise_scale") is None:
        raise ValueError(
            f"rule {rule} needs the gradient noise scale, but noise_scale is not set: set it to what a run logs as "
            "noise_scale/*, or choose linear or sqrt."
        )
    for name, value in given.items():
        if value is not None and name not in takes:
            raise ValueError(f"rule {rule} got {name}, which its law does not have ({HINTS[name]}): remove {name}.")


def check_ranges(**values: float | None) -> None:
    """Raise ValueError when a value (not None) is out of its range: beta in [0, 1), the others finite and above 0, or 0."""
    for name, value in values.items():
        if value is None:
            continue
        if name == "beta":
            fits, allowed = 0 <= value < 1, "at least 0 and below 1"
        elif name in AT_LEAST_0:
            fits, allowed = 0 <= value < math.inf, "finite and at least 0"
        else:
            fits, allowed = 0 < value < math.inf, "finite and above 0"
        if not fits:
            raise ValueError(f"{name} is {value}, but must be {allowed}.")
