"""What averages over measurements of the curvature say: quotients of means, not means of quotients."""

import math
from collections.abc import Mapping


def quotients(averages: Mapping[str, float], momentum_square: float = 1.0) -> dict[str, float]:
    """Return what averages of measurements say; a quotient whose parts are still lost in their noise is left out.

    `gradient` is g H g / |g|^2, `noise_scale` tr(S H) / g H g in images; `adamw` s H s with s the sign of AdamW's momentum
    and `mean` tr H, both per value of AdamW's; `muon` u H u / |u|^2 with u the orthogonalised momentum; `gradient_rms` the
    root mean square of the gradient of AdamW's values without noise. `ratio` is b_n of lr_scaling.py: the noise in the
    signs hides a part of what they feel off the diagonal, which their agreement with those of two independent batches
    gives back; where that is lost in its noise, or gradients oscillate, it is an upper bound of b_n. There is none while
    steps along all signs feel no more than the diagonal: a diagonal Hessian is then near. `momentum_square` is |m|^2 now.
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
        is_known = averages["batch_agreement"] > 0 and averages["agreement"] > 0
        certainty = averages["agreement"] ** 2 / averages["batch_agreement"] if is_known else 1.0
        found["ratio"] = math.sqrt(averages["mean"] * min(1.0, certainty) / off)
    return found
