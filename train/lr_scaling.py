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
    takes: tuple[str, ...] = ("noise_scale", "beta")


def _sign(noise: Noise) -> float:
    k = math.pi / 2 * noise.left * noise.ratio
    return _adaptive(k, 1 + k, noise.curvature_ratio)


def _adam(noise: Noise) -> float:
    root = 1 + noise.ratio + noise.epsilon_ratio**2
    return _adaptive(root - 1, 1 + noise.left * noise.ratio, noise.curvature_ratio)


def _adabelief(noise: Noise) -> float:
    variance = 2 * noise.beta**2 / (1 + noise.beta) * noise.ratio  # of a gradient less the average that holds it
    return _adaptive(variance + noise.epsilon_ratio**2 - 1, 1 + noise.left * noise.ratio, noise.curvature_ratio)


def _adaptive(spread: float, second: float, curvature_ratio: float | None) -> float:
    """Return sqrt(1 + spread) / (1 + b_n^2 second), in units in which it stays finite as b_n grows."""
    along = 0.0 if curvature_ratio is None else 1 / curvature_ratio**2
    return math.sqrt(1 + spread) * (1 + along) / (along + second)


RULES: dict[RuleName, Rule] = {
    "linear": Rule(lambda batch, _: batch, takes=()),
    "sqrt": Rule(lambda batch, _: math.sqrt(batch), takes=()),
    "sgd": Rule(lambda _, noise: 1 / (1 + noise.left * noise.ratio)),
    "sign": Rule(lambda _, noise: _sign(noise), takes=("noise_scale", "beta", "curvature_ratio")),
    "adam": Rule(lambda _, noise: _adam(noise), takes=("noise_scale", "beta", "curvature_ratio", "epsilon_ratio")),
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

HINTS = {
    "noise_scale": "linear and sqrt take no measurement of the gradient",
    "beta": "linear and sqrt hold for any momentum",
    "curvature_ratio": "only laws of steps that are scaled by coordinate ask for it",
    "epsilon_ratio": "only adam and adabelief have an epsilon",
    "nesterov": "only muon looks ahead",
}


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
    Raises ValueError when the rule lacks the noise scale, or gets what its law does not have; adabelief needs momentum.
    """
    given = {"beta": beta, "nesterov": nesterov, "curvature_ratio": curvature_ratio, "epsilon_ratio": epsilon_ratio}
    check_rule(rule, {"noise_scale": noise_scale, **{name: value or None for name, value in given.items()}})

    def best(size: float) -> float:
        ratio, left = (noise_scale or 0.0) / size, noise_left(beta, nesterov)
        return RULES[rule].law(size, Noise(ratio, left, beta, curvature_ratio, epsilon_ratio))

    return lr * best(batch) / best(base_batch)


def check_rule(rule: RuleName, given: dict[str, float | None]) -> None:
    """Raise ValueError when a rule lacks the noise scale that it needs, or gets a value (not None) that it does not take."""
    takes = RULES[rule].takes
    if "noise_scale" in takes and given.get("noise_scale") is None:
        raise ValueError(
            f"rule {rule} needs the gradient noise scale, but noise_scale is not set: set it to what a run logs as "
            "noise_scale/*, or choose linear or sqrt."
        )
    if rule == "adabelief" and not given.get("beta"):
        raise ValueError("rule adabelief needs momentum, but beta is 0: set it to beta1, or choose adam.")
    for name, value in given.items():
        if value is not None and name not in takes:
            raise ValueError(f"rule {rule} got {name}, which its law does not have ({HINTS[name]}): remove {name}.")
