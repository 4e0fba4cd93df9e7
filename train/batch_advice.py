"""What another batch size would need, from what a run measured: the steps-and-examples law, and rates for the optimizer.

To a given loss, S steps and E images of a batch B are related by (S / S_min - 1) (E / E_min - 1) = 1, so S is in proportion
to 1 + B_crit / B and E to B + B_crit (McCandlish et al., arXiv 1812.06162; kexue.fm 10542). B_crit is B_simple for a
diagonal Hessian and for Muon, and B_simple b_n^2 / (1 + b_n^2) for Adam with curvature ratio b_n. Momentum does not enter:
it spreads a gradient over steps, and what they add up to has the noise that it had.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .lr_scaling_config import LrScalingConfig
from .optimizer import OptimizerConfig

NOISE_SCALES = ("noise_scale/batches/all", "noise_scale/momentum/all")
"""Where the log has the noise scale, the better estimate first."""
FACTORS = (0.25, 0.5, 2, 4, 8)


class BatchMeasures(NamedTuple):
    """What a run knows about its batch size."""

    batch: int
    """Images of a step."""
    noise_scale: float
    """B_simple, in images."""
    curvature_ratio: float | None
    gradient_rms: float | None


class Need(NamedTuple):
    """What a batch of another size would need to the same loss, as multiples."""

    steps: float
    images: float


def measures(last: Mapping[str, float], batch: int) -> BatchMeasures | None:
    """Return the measures from the last value of each scalar of a log; None when it has no noise scale."""
    scale = next((last[name] for name in NOISE_SCALES if name in last), None)
    if scale is None:
        return None
    return BatchMeasures(batch, scale, last.get("curvature/ratio"), last.get("curvature/gradient_rms"))


def critical_batch(found: BatchMeasures, optimizer: str) -> float:
    """Return B_crit in images, by the law of the optimizer that moves most weights: muon or adamw."""
    if optimizer == "muon" or found.curvature_ratio is None:
        return found.noise_scale
    return found.noise_scale * found.curvature_ratio**2 / (1 + found.curvature_ratio**2)


def need(batch: float, factor: float, critical: float) -> Need:
    """Return what a batch `factor` times as large would need."""
    steps = (1 + critical / (factor * batch)) / (1 + critical / batch)
    return Need(steps, factor * steps)


def advice(found: BatchMeasures, config: OptimizerConfig) -> list[str]:
    """Return sentences for the end of a run, the last one the lines of YAML that carry its rate to another batch size."""
    critical = critical_batch(found, config.name)
    fourfold = need(found.batch, 4, critical)
    return [
        f"A batch of 4x would need about {fourfold.steps:.2g}x the steps and {fourfold.images:.2g}x the images: the batch "
        f"where both double their least is about {critical:,.3g} images, and this run has {found.batch:,}.",
        "To carry its learning rate to another batch size, write: " + scaling_lines(found),
    ]


def scaling_lines(found: BatchMeasures) -> str:
    """Return the value of optimizer.scale_lr that is measured, as a line of YAML."""
    values = {
        "rule": "best_step",
        "base_batch_size": str(found.batch),
        "noise_scale": f"{found.noise_scale:.4g}",
        "curvature_ratio": found.curvature_ratio and f"{found.curvature_ratio:.4g}",
        "gradient_rms": found.gradient_rms and f"{found.gradient_rms:.4g}",
    }
    return f"scale_lr: {{{', '.join(f'{name}: {value}' for name, value in values.items() if value)}}}"


def rows(found: BatchMeasures, config: OptimizerConfig) -> Sequence[tuple[str, ...]]:
    """Return a row for each of FACTORS: batch, steps, images, and rates of AdamW and Muon, as multiples of the run's."""
    critical = critical_batch(found, config.name)
    scaling = LrScalingConfig(
        rule="best_step",
        base_batch_size=found.batch,
        noise_scale=found.noise_scale,
        curvature_ratio=found.curvature_ratio,
        gradient_rms=found.gradient_rms,
    )
    table = []
    for factor in FACTORS:
        batch = round(factor * found.batch)
        if batch < 1:
            continue
        needed = need(found.batch, batch / found.batch, critical)
        rates = [scaling.adamw_factor(batch, config.betas[0], config.eps, config.second_moment)]
        rates += [scaling.muon_factor(batch, config.momentum)] if config.name == "muon" else []
        table.append((f"{batch:,}", *(f"{value:.2f}x" for value in (needed.steps, needed.images, *rates))))
    return table
