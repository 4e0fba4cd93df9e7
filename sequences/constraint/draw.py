"""One id from logits: temperature, top-k and top-p, with noise of a generator that is given."""

from math import inf

import torch
from torch import Tensor

SMALLEST_NOISE = 1e-30
"""Keeps the logarithm finite where an exponential draw rounds to 0."""


def filter_logits(logits: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Return logits `b v` divided by the temperature, and -inf for all but the `top_k` largest and those that make up `top_p`.

    `top_k=0` and `top_p=1` keep all. Ties with the k-th largest are kept, and so is the largest (nucleus sampling: Holtzman et
    al. 2019, arXiv 1904.09751). Float32; -inf stays -inf.
    """
    check_sampling(temperature, top_k, top_p)
    logits = logits.float() / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], -inf)
    if top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(-1)
        beyond = probabilities.cumsum(-1) - probabilities >= top_p
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -inf)
    return logits


def check_sampling(temperature: float, top_k: int, top_p: float) -> None:
    """Raise ValueError for options that `filter_logits` does not take."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, but must be above 0: for the most likely ids, give top_k=1.")
    if not isinstance(top_k, int) or top_k < 0:
        raise ValueError(f"top_k is {top_k}, but must be a whole number from 0 on; 0 keeps all ids.")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}, but must be above 0 and at most 1, which keeps all ids.")


def draw(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return one index for each row of logits `b v`, int64 `b`, with the probabilities softmax(logits).

    It is the index of the largest logit minus log of exponential noise (Gumbel-max), for which the host need not wait for the
    device.
    """
    noise = torch.empty_like(logits, dtype=torch.float32).exponential_(generator=generator).clamp_(min=SMALLEST_NOISE)
    return (logits.float() - noise.log()).argmax(-1)


class PairedDraw:
    """A logits processor that draws the id itself, one for each pair of conditional and unconditional rows.

    After `Guidance` without a callable, both rows of a pair must go on with the same id. `generate` would draw one for each:
    put this last, and let `generate` take the only id that is left (`do_sample=False`).
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        check_sampling(temperature, top_k, top_p)
        self.temperature, self.top_k, self.top_p, self.generator = temperature, top_k, top_p, generator

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores `2b v`, float32: 0 for the id that was drawn from the first half, -inf for all others."""
        conditional = scores[: len(scores) // 2]
        drawn = draw(filter_logits(conditional, self.temperature, self.top_k, self.top_p), self.generator)
        only = torch.full_like(scores, -inf, dtype=torch.float32)
        return only.scatter(-1, torch.cat([drawn, drawn])[:, None], 0.0)
