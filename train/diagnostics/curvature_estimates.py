"""Curvature and noise scale from averaged measurements: ratios of means, not means of ratios."""

import math
from collections.abc import Mapping


def estimates(averages: Mapping[str, float], momentum_square: float = 1.0) -> dict[str, float]:
    """Return the estimates whose parts are above their noise, by name; `momentum_square` is the newest |m|^2.

    `gradient` is g H g / |g|^2 and `noise_scale` tr(S H) / g H g, in images. `adamw` is s H s for the sign s of AdamW's
    momentum, and `mean` is tr H, both divided by the number of AdamW's values. `muon` is u H u / |u|^2 for the
    orthogonalised momentum u. `gradient_rms` is the root mean square of the noiseless gradient of AdamW's values.

    `ratio` is b_n of the learning-rate laws (lr_scaling.py). Noise in the signs hides a part of the off-diagonal
    curvature; their agreement with the signs of two independent batches corrects for it. If that agreement is lost in
    noise, or gradients oscillate, `ratio` is an upper bound. It is missing while s H s does not exceed the diagonal.
    """
    found = {name: averages[name] for name in ("adamw", "mean", "muon") if name in averages}
    if averages["signal"] > 0:
        found["gradient"] = averages["gradient"] / averages["signal"]
    if averages["noise"] > 0 and averages["gradient"] > 0:
        found["noise_scale"] = averages["noise"] / averages["gradient"]
    if averages["adamw_signal"] > 0:
        found["gradient_rms"] = math.sqrt(averages["adamw_signal"] * momentum_square)
    off = averages["adamw"] - averages["mean"]
    if averages["mean"] > 0 and off > 0:
        is_measured = averages["batch_agreement"] > 0 and averages["agreement"] > 0
        correction = averages["agreement"] ** 2 / averages["batch_agreement"] if is_measured else 1.0
        found["ratio"] = math.sqrt(averages["mean"] * min(1.0, correction) / off)
    return found
