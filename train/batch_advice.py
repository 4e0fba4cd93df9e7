"""What another batch size would need, from the measurements of a run: steps, images and learning rates.

To reach a given loss with batches of B, steps S and images E satisfy (S / S_min - 1) (E / E_min - 1) = 1. So S is
proportional to 1 + B_crit / B, and E to B + B_crit (McCandlish et al., arXiv 1812.06162; https://kexue.fm/archives/10542).
B_crit is tr(S H) / g H g if the curvature is measured. Otherwise it is B_simple for Muon or a diagonal Hessian, and
B_simple b_n^2 / (1 + b_n^2) for Adam with curvature ratio b_n. Momentum spreads a gradient over several steps, whose sum has
the same noise. The noise scale of the momentum counts every change of the gradient as noise. So it is too large, by a factor
of 20 and more in RESULTS.md, and the law gives lower bounds.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ..report.content import Table
from .config import TrainConfig
from .optimizer.config import OptimizerConfig
from .optimizer.lr_scaling import LrScalingConfig

NOISE_SCALES = ("noise_scale/batches/all", "noise_scale/momentum/all")
"""Log paths of the noise scale, the one with fewer assumptions first."""
FACTORS = (0.25, 0.5, 2, 4, 8)


class Need(NamedTuple):
    """What another batch size needs to reach the same loss, as multiples."""

    steps: float
    images: float


class Advice(NamedTuple):
    """What a run says about other batch sizes at its end."""

    sentence: str
    table: Table
    """Steps, images and best learning rates of other batch sizes, as multiples."""
    overrides: str
    """Overrides to add to the command of a run with another `data.batch_size`."""


def batch_advice(last: Mapping[str, float], config: TrainConfig) -> Advice | None:
    """Return the advice of a run from the last value of each scalar in its log; None without a noise scale."""
    path = next((path for path in NOISE_SCALES if path in last), None)
    if path is None:
        return None
    optimizer, batch = config.optimizer, config.data.batch_size
    ratio, rms, measured = (last.get(f"curvature/{name}") for name in ("ratio", "gradient_rms", "noise_scale"))
    law = LrScalingConfig(
        rule="best_step",
        base_batch_size=batch,
        noise_scale=last[path],
        curvature_ratio=ratio,
        gradient_rms=rms,
    )
    critical = critical_batch(optimizer.name, last[path], ratio) if measured is None else measured
    is_bound = measured is None and path == NOISE_SCALES[1]
    return Advice(_sentence(batch, critical, is_bound), _table(law, critical, optimizer), _overrides(law, optimizer))


def critical_batch(optimizer: str, noise_scale: float, curvature_ratio: float | None = None) -> float:
    """Return B_crit in images by the law of the optimizer of most weights: muon or adamw."""
    if optimizer == "muon" or curvature_ratio is None:
        return noise_scale
    return noise_scale * curvature_ratio**2 / (1 + curvature_ratio**2)


def need(batch: float, other: float, critical: float) -> Need:
    """Return what batches of `other` images need, as multiples of what batches of `batch` images need."""
    steps = (1 + critical / other) / (1 + critical / batch)
    return Need(steps, steps * other / batch)


def _sentence(batch: int, critical: float, is_bound: bool) -> str:
    steps, images = need(batch, 4 * batch, critical)
    need_of = f"{steps:.2g}x the steps and {images:.2g}x the images"
    if is_bound:
        return (
            f"At 4x this batch of {batch:,} images: at least {need_of}. "
            "These are lower bounds; set diagnostics.curvature_every for closer ones."
        )
    size = f"{critical:,.0f} image{'s' if critical >= 1.5 else ''}" if critical >= 0.5 else "less than one image"
    return (
        f"At 4x this batch of {batch:,} images: about {need_of}. Both would be twice their minimum at {size} per step."
    )


def _table(law: LrScalingConfig, critical: float, optimizer: OptimizerConfig) -> Table:
    here, kinds = law.base_batch_size, ["AdamW", "Muon"] if optimizer.name == "muon" else ["AdamW"]
    rows = []
    for batch in sorted({max(1, round(factor * here)) for factor in FACTORS} - {here}):
        rates = [law.adamw_factor(batch, optimizer.betas[0], optimizer.eps, optimizer.second_moment)]
        rates += [law.muon_factor(batch, optimizer.momentum)]
        values = [*need(here, batch, critical), *rates[: len(kinds)]]
        rows.append([f"{batch:,}", *(f"{value:.2f} x" for value in values)])
    rates_of = [f"learning rate of {kind}, best for one step" for kind in kinds]
    return Table(["batch size", "steps", "images", *rates_of], rows)


def _overrides(law: LrScalingConfig, optimizer: OptimizerConfig) -> str:
    """Return the learning rates of the run, and the law that starts from there, as overrides for the command line."""
    here = optimizer.at_batch_size(law.base_batch_size)
    rates = f"optimizer.lr={here.lr:.4g}"
    if here.name == "muon":
        rates += f" optimizer.muon_rate={here.muon_rate:.4g}"
    values = law.model_dump(exclude_none=True).items()
    keys = ", ".join(f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}" for name, value in values)
    return f"{rates} 'optimizer.scale_lr={{{keys}}}'"
