"""What another batch size would need, from the measurements of a run: steps, images and learning rates.

To reach a given loss with batches of B, steps S and images E satisfy (S / S_min - 1) (E / E_min - 1) = 1. So S is
proportional to 1 + B_crit / B, and E to B + B_crit (McCandlish et al., arXiv 1812.06162; https://kexue.fm/archives/10542).
B_crit is tr(S H) / g H g if the curvature is measured. Otherwise it is B_simple for Muon or a diagonal Hessian, and
B_simple b_n^2 / (1 + b_n^2) for Adam with curvature ratio b_n. Momentum plays no role: it spreads a gradient over several
steps, whose sum has the same noise.

The noise scale of the momentum counts every change of the gradient as noise. It is too large, by a factor of 20 and more in
RESULTS.md, so the law then gives a minimum of steps and images.
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


class BatchFacts(NamedTuple):
    """What a run measured about its batch size."""

    batch: int
    """Images per step."""
    noise_scale: float
    """B_simple, in images."""
    curvature_ratio: float | None = None
    gradient_rms: float | None = None
    measured: float | None = None
    """tr(S H) / g H g, in images."""
    is_bound: bool = False
    """Whether the noise scale is that of the momentum, an upper bound."""

    def critical(self, optimizer: str) -> float:
        """Return B_crit in images, measured or by the law of the optimizer of most weights: muon or adamw."""
        if self.measured is not None:
            return self.measured
        if optimizer == "muon" or self.curvature_ratio is None:
            return self.noise_scale
        return self.noise_scale * self.curvature_ratio**2 / (1 + self.curvature_ratio**2)

    def scaling(self) -> LrScalingConfig:
        """Return the config of the learning-rate law that starts from here."""
        measured = {name: getattr(self, name) for name in ("noise_scale", "curvature_ratio", "gradient_rms")}
        return LrScalingConfig(rule="best_step", base_batch_size=self.batch, **measured)


def batch_facts(last: Mapping[str, float], batch: int) -> BatchFacts | None:
    """Return the facts from the last value of each scalar in a log; None without a noise scale."""
    scale = next((last[name] for name in NOISE_SCALES if name in last), None)
    if scale is None:
        return None
    is_bound = NOISE_SCALES[0] not in last
    ratio, rms, measured = (last.get(f"curvature/{name}") for name in ("ratio", "gradient_rms", "noise_scale"))
    return BatchFacts(batch, scale, ratio, rms, measured, is_bound)


def need(batch: float, other: float, critical: float) -> Need:
    """Return what batches of `other` images need, as multiples of what batches of `batch` images need."""
    steps = (1 + critical / other) / (1 + critical / batch)
    return Need(steps, steps * other / batch)


class Advice(NamedTuple):
    """What a run says about other batch sizes at its end."""

    sentence: str
    table: Table
    """Steps, images and best learning rates of other batch sizes, as multiples."""
    overrides: str
    """Overrides to add to the command of a run with another `data.batch_size`."""


def batch_advice(last: Mapping[str, float], config: TrainConfig) -> Advice | None:
    """Return the advice of a run from the last value of each scalar in its log; None without a noise scale."""
    facts = batch_facts(last, config.data.batch_size)
    if facts is None:
        return None
    optimizer = config.optimizer
    return Advice(_sentence(facts, optimizer.name), _table(facts, optimizer), _overrides(facts, optimizer))


def _table(facts: BatchFacts, optimizer: OptimizerConfig) -> Table:
    scaling, kinds = facts.scaling(), ["AdamW", "Muon"] if optimizer.name == "muon" else ["AdamW"]
    rows = []
    for batch in sorted({max(1, round(factor * facts.batch)) for factor in FACTORS} - {facts.batch}):
        rates = [scaling.adamw_factor(batch, optimizer.betas[0], optimizer.eps, optimizer.second_moment)]
        rates += [scaling.muon_factor(batch, optimizer.momentum)]
        values = [*need(facts.batch, batch, facts.critical(optimizer.name)), *rates[: len(kinds)]]
        rows.append([f"{batch:,}", *(f"{value:.2f} x" for value in values)])
    return Table(
        ["batch size", "steps", "images", *(f"learning rate of {kind}, best for one step" for kind in kinds)], rows
    )


def _sentence(facts: BatchFacts, optimizer: str) -> str:
    critical = facts.critical(optimizer)
    steps, images = need(facts.batch, 4 * facts.batch, critical)
    if facts.measured is None and facts.is_bound:
        return (
            f"A batch of 4x would need at least {steps:.2g}x the steps and {images:.2g}x the images: this run had "
            f"{facts.batch:,} images in a step, and the noise scale of its momentum is a bound; that of the curvature, where "
            "diagnostics.curvature_every can measure it, is closer."
        )
    size = f"at {critical:,.0f}" if critical >= 0.5 else "at less than one"
    return (
        f"A batch of 4x would need about {steps:.2g}x the steps and {images:.2g}x the images: this run had {facts.batch:,} "
        f"images in a step, and {size} both would be twice their minimum."
    )


def _overrides(facts: BatchFacts, optimizer: OptimizerConfig) -> str:
    """Return the learning rates of the run, and the law that starts from there, as overrides for the command line."""
    here = optimizer.at_batch_size(facts.batch)
    rates = f"optimizer.lr={here.lr:.4g}"
    if here.name == "muon":
        rates += f" optimizer.muon_rate={here.muon_rate:.4g}"
    values = facts.scaling().model_dump(exclude_none=True).items()
    law = ", ".join(f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}" for name, value in values)
    return f"{rates} 'optimizer.scale_lr={{{law}}}'"
