"""Alarms about tokens that use few codes, compared with even use and with the best window so far."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from ...evaluation.usage import Usage
from .expected import CountHistogram, Spread, even_spread

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
COMPUTED_REMEDIES = (
    "a lower optimizer.lr, a higher losses.codebook_entropy if there is one, or ema with codebook.revive_every"
)
"""What to try where codes cannot be set one by one."""


class Finding(NamedTuple):
    """Something that is wrong."""

    name: str
    """Its kind, then a space and the codebook if there are several."""
    sentence: str


class _Best(NamedTuple):
    step: int
    histogram: CountHistogram


class UsageAlarms:
    """Remembers the best windows of each codebook; its state goes into the checkpoint."""

    def __init__(self, codes: int, can_set: bool):
        self._codes = codes
        self._can_set = can_set
        self._windows = 0
        self._best: dict[str, dict[str, _Best]] = {}

    def check(self, step: int, counts: Tensor, usages: list[Usage]) -> list[Finding]:
        """Return what is wrong in the window that ended at `step`, at most one finding per codebook.

        `counts` has a row for each codebook.
        """
        self._windows += 1
        found = []
        for index, (row, usage) in enumerate(zip(counts, usages, strict=True)):
            name = f"codebook {index}" if len(usages) > 1 else ""
            for kind, sentence in self._of(step, name, row, usage)[:1]:
                found.append(Finding(f"{kind} {name}", f"{name}: {sentence}") if name else Finding(kind, sentence))
        return found

    def state_dict(self) -> dict[str, Any]:
        best = {
            name: {kind: [best.step, *best.histogram] for kind, best in kinds.items()}
            for name, kinds in self._best.items()
        }
        return {"windows": self._windows, "best": best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._windows = state["windows"]
        self._best = {
            name: {kind: _Best(step, CountHistogram(*histogram)) for kind, (step, *histogram) in kinds.items()}
            for name, kinds in state["best"].items()
        }

    def _of(self, step: int, name: str, counts: Tensor, usage: Usage) -> list[Finding]:
        histogram = CountHistogram.of(counts)
        if histogram.tokens < MIN_TOKENS:
            return []
        fallen = self._fallen(step, name, histogram)
        return fallen + (self._low(histogram.tokens, usage) if self._windows >= PATIENCE else [])

    def _fallen(self, step: int, name: str, histogram: CountHistogram) -> list[Finding]:
        """Compare with the best windows, reduced to as many tokens, and remember this one if it is better."""
        best = self._best.setdefault(name, {})
        factor = FRESH_FACTOR if step < FRESH else 1
        now, found = histogram.spread(histogram.tokens), []
        for kind, fraction in (("codes", COLLAPSE), ("perplexity", CONCENTRATION)):
            before = best.get(kind)
            then = before.histogram.spread(histogram.tokens) if before else Spread(0, 0)
            if before is None or getattr(now, kind) > getattr(then, kind):
                best[kind] = _Best(step, histogram)
            elif getattr(now, kind) < fraction * factor * getattr(then, kind):
                found.append(self._fall(kind, then, now, step - before.step))
        return found

    def _fall(self, kind: str, then: Spread, now: Spread, steps: int) -> Finding:
        remedies = "a lower optimizer.lr, or the quantizers simvq or fsq"
        if kind == "codes":
            return Finding(
                "collapse",
                f"the codes in use fell from {then.codes:,.0f} to {now.codes:,.0f} of {self._codes:,} in {steps} steps: the "
                f"codebook collapses; try {self._remedies(f'codebook.revive_every, {remedies}')}.",
            )
        return Finding(
            "concentration",
            f"perplexity fell from {then.perplexity:,.1f} to {now.perplexity:,.1f} in {steps} steps, with {now.codes:,.0f} of "
            f"{self._codes:,} codes in use: a few codes take most tokens; try {self._remedies(remedies)}.",
        )

    def _low(self, tokens: int, usage: Usage) -> list[Finding]:
        codes, used, even = self._codes, usage.usage * self._codes, even_spread(tokens, self._codes)
        # The fewer tokens per code, the less it means that few codes occur.
        if used < LOW_USAGE * min(1, tokens / codes) * even.codes:
            remedies = "codebook.initialization: kmeans, codebook.revive_every, or the quantizers simvq or fsq"
            sentence = f"only {round(used):,} of {codes:,} codes are in use: most are never nearest to a latent"
            return [Finding("unused", f"{sentence}; try {self._remedies(remedies)}.")]
        if even.perplexity > 1 and math.log(usage.perplexity) < LOW_ENTROPY * math.log(even.perplexity):
            remedies = "codebook.initialization: kmeans, a lower optimizer.lr, or the quantizers simvq or fsq"
            sentence = (
                f"perplexity is {usage.perplexity:,.1f}, where even use of {codes:,} codes would give "
                f"{even.perplexity:,.1f}: nearly all tokens use the same few codes"
            )
            return [Finding("few", f"{sentence}; try {self._remedies(remedies)}.")]
        return []

    def _remedies(self, remedies: str) -> str:
        """Return `remedies`, or what helps where codes are computed."""
        return remedies if self._can_set else COMPUTED_REMEDIES
