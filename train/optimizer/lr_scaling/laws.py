"""The learning rate at another batch size: how the best rate of one step depends on the batch.

Each law is the rate at which one step lowers the loss most, at a given place and for a given shape of the loss, up to a
constant that the rate at a base batch fixes. None is the best rate of a whole run: over many steps the noise of one step
meets that of the next, the curvature follows the rate, and a rate above the best of a step can win. Take a law as the
place to begin a search at.

Symbols: g is the gradient without noise, s^2 the variance of each coordinate over images, H the Hessian, B the batch,
k = B_simple / B with B_simple = tr(S) / |g|^2, r what momentum leaves of the noise, and b_n the curvature ratio,
b_n^2 = sum of H_ii / sum over i != j of sign(g_i g_j) H_ij.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from .checks import check_given, check_ranges

RuleName = Literal["linear", "sqrt", "sgd", "sign", "adam", "adabelief", "muon"]


class Noise(NamedTuple):
    """What a law knows beside the batch size."""

    ratio: float
    """Noise over signal in the gradient of the batch, k."""
    left: float = 1.0
    """Variance that momentum leaves of the noise, r in (0, 1]."""
    beta: float = 0.0
    """Decay of the momentum."""
    curvature_ratio: float | None = None
    """b_n; None for a diagonal Hessian, where it is infinite."""
    epsilon_ratio: float = 0.0
    """Adam's epsilon over the root mean square of g."""


class Rule(NamedTuple):
    """A law and the arguments of `scale_lr` that it takes."""

    law: Callable[[float, Noise], float]
    takes: tuple[str, ...] = ("noise_scale", "beta", "nesterov")


def _sign(noise: Noise) -> float:
    k = math.pi / 2 * noise.left * noise.ratio
    return _adaptive(math.sqrt(1 + k), 1 + k, noise.curvature_ratio)


def _adam(noise: Noise) -> float:
    root = math.hypot(1, math.sqrt(noise.ratio), noise.epsilon_ratio)
    return _adaptive(root, 1 + noise.left * noise.ratio, noise.curvature_ratio)


def _adabelief(noise: Noise) -> float:
    variance = 2 * noise.beta**2 / (1 + noise.beta) * noise.ratio  # of a gradient less the average that holds it
    root = math.hypot(math.sqrt(variance), noise.epsilon_ratio)
    return _adaptive(root, 1 + noise.left * noise.ratio, noise.curvature_ratio)


def _adaptive(root: float, second: float, curvature_ratio: float | None) -> float:
    """Return root / (1 + b_n^2 second), in units in which it is finite for every b_n."""
    across = 0.0 if curvature_ratio is None else 1 / math.hypot(1, curvature_ratio)
    diagonal = 1.0 if curvature_ratio is None else curvature_ratio * across
    return root / (across**2 + diagonal**2 * second)


RULES: dict[RuleName, Rule] = {
    "linear": Rule(lambda batch, _: batch, takes=()),
    "sqrt": Rule(lambda batch, _: math.sqrt(batch), takes=()),
    "sgd": Rule(lambda _, noise: 1 / (1 + noise.left * noise.ratio)),
    "sign": Rule(lambda _, noise: _sign(noise), takes=("noise_scale", "beta", "nesterov", "curvature_ratio")),
    "adam": Rule(
        lambda _, noise: _adam(noise), takes=("noise_scale", "beta", "nesterov", "curvature_ratio", "epsilon_ratio")
    ),
    "adabelief": Rule(
        lambda _, noise: _adabelief(noise), takes=("noise_scale", "beta", "curvature_ratio", "epsilon_ratio")
    ),
    "muon": Rule(
        lambda _, noise: 1 / math.sqrt(1 + noise.left * noise.ratio), takes=("noise_scale", "beta", "nesterov")
    ),
}
"""The rules.

    linear  B: SGD as a stochastic differential equation (kexue.fm 10542)
    sqrt    sqrt(B): equal variance of SGD's step, or Adam as a stochastic differential equation (10542)
    sgd     1 / (1 + r B_noise / B), B_noise = tr(S H) / (g H g): SGD (10542; McCandlish et al., arXiv 1812.06162)
    sign    sqrt(1 + k') / (1 + b_n^2 (1 + k')), k' = pi / 2 r k: signs of the momentum (10542). Exact for small and large
            B; up to 12 % low between, for the error function is replaced by x / sqrt(x^2 + pi / 4)
    adam    sqrt(1 + k + e^2) / (1 + b_n^2 (1 + r k)): Adam, whose second moment holds all the noise while its momentum
            holds r of it (10542, 11280, 11301); sqrt(1 + k + e^2) / (1 + r k) for a diagonal Hessian. With momentum it falls
            beyond B = r / (1 - 2 r) B_simple even then: 0.06 B_simple at beta1 = 0.9. e is epsilon over the size of g,
            epsilon inside the root (10563); torch adds it outside, where sqrt(1 + k) + e is in the numerator's place
    adabelief  the same with sqrt(2 beta1^2 / (1 + beta1) k + e^2) above: the second moment of the noise alone (10588); needs
            momentum, without which nothing is left of the gradient less its average
    muon    1 / sqrt(1 + r k): orthogonalised momentum (11285)

For SGD, signs and Muon momentum is a larger batch, B / r. For Adam and AdaBelief it is not: see their laws.
"""


def noise_left(beta: float, nesterov: bool = False) -> float:
    """Return the variance of an average of decay `beta` over independent noise of variance 1; its weights sum to 1.

    (1 - beta) / (1 + beta), and for Nesterov's beta m + (1 - beta) G, which counts the newest gradient twice,
    (1 - beta^2)^2 + beta^4 (1 - beta) / (1 + beta).
    """
    plain = (1 - beta) / (1 + beta)
    return (1 - beta**2) ** 2 + beta**4 * plain if nesterov else plain


def scale_lr(
    lr: float,
    base_batch: float,
    batch: float,
    rule: RuleName,
    noise_scale: float | None = None,
    *,
    beta: float = 0.0,
    nesterov: bool = False,
    curvature_ratio: float | None = None,
    epsilon_ratio: float = 0.0,
) -> float:
    """Return the rate at `batch` images by a rule of RULES, for the rate `lr` at `base_batch`.

    `noise_scale` is in images: B_noise for sgd, B_simple for the others; `beta` is the decay of the momentum, Adam's beta1.
    Raises ValueError when the rule is none, lacks the noise scale, or gets what its law does not have, and for values out
    of range.
    """
    check_ranges(lr=lr, base_batch=base_batch, batch=batch, curvature_ratio=curvature_ratio)
    check_ranges(noise_scale=noise_scale, epsilon_ratio=epsilon_ratio, beta=beta)
    given = {"beta": beta, "nesterov": nesterov, "curvature_ratio": curvature_ratio, "epsilon_ratio": epsilon_ratio}
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, but must be one of {', '.join(RULES)}.")
    check_given(
        rule, RULES[rule].takes, {"noise_scale": noise_scale, **{name: value or None for name, value in given.items()}}
    )

    def best(size: float) -> float:
        ratio, left = (noise_scale or 0.0) / size, noise_left(beta, nesterov)
        return RULES[rule].law(size, Noise(ratio, left, beta, curvature_ratio, epsilon_ratio))

    before = best(base_batch)
    if before == 0:
        raise ValueError(
            f"rule {rule} divides by the spread of the gradient round its average, but there is none here: give a beta and "
            "a noise_scale above 0, or an epsilon_ratio."
        )
    return lr * best(batch) / before
