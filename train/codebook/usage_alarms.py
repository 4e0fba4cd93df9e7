"""Alarms about tokens that use few codes, compared with even use and with the best window so far."""

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...evaluation.usage import Usage, perplexity
from .remedies import KMEANS, LOWER_LR, MORE_ENTROPY, OTHERS, REVIVAL, THE_OTHER, WITH_REVIVAL, Remedies

FRESH = 100
"""First steps of a run, in which latents find their directions."""

COLLAPSE = 0.5
"""Usage has collapsed below this fraction of the codes in use in the best window, at the same number of tokens."""
CONCENTRATION = 0.25
"""The same for perplexity."""
LOW_USAGE = 0.1
"""A codebook hardly works below this fraction of the codes that even use would reach, given a token per code or more."""
LOW_ENTROPY = 0.25
"""Few codes take all tokens below this fraction of the entropy of even use; Zipf's law has 0.5 or more."""
FRESH_FACTOR = 0.2
"""Factor on COLLAPSE and CONCENTRATION in the first FRESH steps: from random weights, usage falls for a while, then rises."""
PATIENCE = 3
"""Windows before low usage of a new run is an alarm."""
MIN_TOKENS = 48
"""Tokens of a codebook that a window needs: with fewer, chance alone halves the codes in use now and then."""

Histogram: TypeAlias = tuple[Tensor, Tensor]
"""Which counts occur in a window, and how many codes have each."""


class Finding(NamedTuple):
    """Something that is wrong."""

    name: str
    """Its kind, then a space and the codebook if there are several."""
    sentence: str


class UsageAlarms:
    """Remembers the best windows of each codebook; its state goes into the checkpoint."""

    def __init__(self, codes: int, remedies: Remedies):
        self._codes = codes
        self._remedies = remedies
        self._windows = 0
        self._best: dict[str, tuple[int, Histogram]] = {}  # step and histogram, by kind of spread and codebook

    def check(self, step: int, counts: Tensor, usages: list[Usage]) -> list[Finding]:
        """Return what is wrong in the window that ended at `step`, at most one finding per codebook.

        `counts` has a row for each codebook.
        """
        self._windows += 1
        found = []
        for index, (row, usage) in enumerate(zip(counts, usages, strict=True)):
            if (tokens := int(row.sum())) < MIN_TOKENS:
                continue
            name = f"codebook {index}" if len(usages) > 1 else ""
            findings = self._fallen(step, name, tokens, histogram(row))
            if self._windows >= PATIENCE:
                findings += self._low(tokens, usage)
            for kind, sentence in findings[:1]:
                found.append(Finding(f"{kind} {name}", f"{name}: {sentence}") if name else Finding(kind, sentence))
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"windows": self._windows, "best": dict(self._best)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._windows, self._best = state["windows"], dict(state["best"])

    def _fallen(self, step: int, name: str, tokens: int, latest: Histogram) -> list[Finding]:
        """Compare with the best windows, reduced to as many tokens, and remember this one if it is better."""
        factor = FRESH_FACTOR if step < FRESH else 1
        now, found = spread(latest, tokens), []
        for kind, fraction in (("codes", COLLAPSE), ("perplexity", CONCENTRATION)):
            best_step, best = self._best.get(f"{kind} {name}", (step, None))
            then = spread(best, tokens) if best else {kind: 0.0}
            if now[kind] > then[kind]:
                self._best[f"{kind} {name}"] = step, latest
            elif now[kind] < fraction * factor * then[kind]:
                found.append(self._fall(kind, then, now, step - best_step))
        return found

    def _fall(self, kind: str, then: dict[str, float], now: dict[str, float], steps: int) -> Finding:
        if kind == "codes":
            return Finding(
                "collapse",
                f"the codes in use fell from {then['codes']:,.0f} to {now['codes']:,.0f} of {self._codes:,} in {steps} steps: "
                f"the codebook collapses; try {self._try(REVIVAL, LOWER_LR)}.",
            )
        return Finding(
            "concentration",
            f"perplexity fell from {then['perplexity']:,.1f} to {now['perplexity']:,.1f} in {steps} steps, with "
            f"{now['codes']:,.0f} of {self._codes:,} codes in use: a few codes take most tokens; try "
            f"{self._try(LOWER_LR)}.",
        )

    def _low(self, tokens: int, usage: Usage) -> list[Finding]:
        codes, used, even = self._codes, usage.usage * self._codes, even_codes(tokens, self._codes)
        # The fewer tokens per code, the less it means that few codes occur.
        if used < LOW_USAGE * min(1, tokens / codes) * even:
            sentence = f"only {round(used):,} of {codes:,} codes are in use: most are never nearest to a latent"
            return [Finding("unused", f"{sentence}; try {self._try(KMEANS, REVIVAL)}.")]
        # With MIN_TOKENS or more, even use has nearly the perplexity of its codes.
        if even > 1 and math.log(usage.perplexity) < LOW_ENTROPY * math.log(even):
            sentence = (
                f"perplexity is {usage.perplexity:,.1f}, where even use would show {even:,.0f} of {codes:,} codes: nearly all "
                "tokens use the same few codes"
            )
            return [Finding("few", f"{sentence}; try {self._try(KMEANS, LOWER_LR)}.")]
        return []

    def _try(self, *first: str) -> str:
        return self._remedies.joined(*first, MORE_ENTROPY, OTHERS, THE_OTHER, WITH_REVIVAL)


def histogram(counts: Tensor) -> Histogram:
    """Return the histogram of the counts ` k` of a codebook, without codes that do not occur."""
    values, codes = torch.unique(counts[counts > 0], return_counts=True)
    return values, codes


def spread(window: Histogram, tokens: int) -> dict[str, float]:
    """Return the number of codes and the perplexity of all tokens, or of fewer drawn from them, always the same ones."""
    counts = window[0].repeat_interleave(window[1])
    if tokens < counts.sum():
        drawn = np.random.default_rng(0).binomial(counts.numpy(), tokens / int(counts.sum()))
        counts = torch.from_numpy(drawn)
    return {"codes": int((counts > 0).sum()), "perplexity": perplexity(counts)}


def even_codes(tokens: int, codes: int) -> float:
    """Return the expected number of different codes, k (1 - (1 - 1/k)^n), among n tokens when all k are equally likely."""
    return 1.0 if codes == 1 else -math.expm1(tokens * math.log1p(-1 / codes)) * codes
