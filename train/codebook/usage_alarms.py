"""Alarms about tokens that use few codes, compared with even use and with the best window so far."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from .expected import CountHistogram, Spread, even_spread
from .findings import FRESH, Finding, WatchedCodebook

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
"""Windows in which the codes of a new run may come into use."""
MIN_TOKENS = 48
"""Tokens of a codebook that a window needs: with fewer, chance alone halves the codes in use now and then."""


class _Best(NamedTuple):
    step: int
    histogram: CountHistogram


class UsageAlarms:
    """Remembers the best windows of each codebook; its state goes into the checkpoint."""

    def __init__(self) -> None:
        self._windows = 0
        self._best: dict[str, dict[str, _Best]] = {}

    def check(self, step: int, counts: Tensor, codebooks: list[WatchedCodebook]) -> list[Finding]:
        """Return what is wrong in the window that ended at `step`, at most one finding per codebook.

        `counts` has a row for each codebook.
        """
        self._windows += 1
        return [
            finding._replace(
                name=f"{finding.name} {codebook.name}".rstrip(),
                sentence=f"{codebook.name}: {finding.sentence}" if codebook.name else finding.sentence,
            )
            for row, codebook in zip(counts, codebooks, strict=True)
            for finding in self._of(step, row, codebook)[:1]
        ]

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

    def _of(self, step: int, counts: Tensor, codebook: WatchedCodebook) -> list[Finding]:
        histogram = CountHistogram.of(counts)
        tokens = histogram.tokens
        if tokens < MIN_TOKENS:
            return []
        found = self._fallen(step, histogram, codebook)
        return found + (_low(tokens, codebook) if self._windows >= PATIENCE else [])

    def _fallen(self, step: int, histogram: CountHistogram, codebook: WatchedCodebook) -> list[Finding]:
        """Compare with the best windows, reduced to as many tokens, and remember this one if it is better."""
        best = self._best.setdefault(codebook.name, {})
        factor = FRESH_FACTOR if step < FRESH else 1
        now, found = histogram.spread(histogram.tokens), []
        for kind, fraction, finding in (
            ("codes", COLLAPSE, _collapse),
            ("perplexity", CONCENTRATION, _concentration),
        ):
            before = best.get(kind)
            then = before.histogram.spread(histogram.tokens) if before else Spread(0, 0)
            if before is None or getattr(now, kind) > getattr(then, kind):
                best[kind] = _Best(step, histogram)
            elif getattr(now, kind) < fraction * factor * getattr(then, kind):
                found.append(finding(then, now, step - before.step, codebook))
        return found


def _low(tokens: int, codebook: WatchedCodebook) -> list[Finding]:
    used, codes, even = codebook.usage.usage * codebook.codes, codebook.codes, even_spread(tokens, codebook.codes)
    # The fewer tokens per code, the less it means that few codes occur.
    if used < LOW_USAGE * min(1, tokens / codes) * even.codes:
        remedies = "codebook.initialization: kmeans, codebook.revive_every, or the quantizers simvq or fsq"
        sentence = f"only {round(used):,} of {codes:,} codes are in use: most are never nearest to a latent"
        return [Finding("unused", f"{sentence}; try {codebook.remedies(remedies)}.")]
    perplexity = codebook.usage.perplexity
    if even.perplexity > 1 and math.log(perplexity) < LOW_ENTROPY * math.log(even.perplexity):
        remedies = "codebook.initialization: kmeans, a lower optimizer.lr, or the quantizers simvq or fsq"
        sentence = (
            f"perplexity is {perplexity:,.1f}, where even use of {codes:,} codes would give {even.perplexity:,.1f}: nearly "
            "all tokens use the same few codes"
        )
        return [Finding("few", f"{sentence}; try {codebook.remedies(remedies)}.")]
    return []


def _collapse(then: Spread, now: Spread, steps: int, codebook: WatchedCodebook) -> Finding:
    remedies = "codebook.revive_every, a lower optimizer.lr, or the quantizers simvq or fsq"
    return Finding(
        "collapse",
        f"the codes in use fell from {then.codes:,.0f} to {now.codes:,.0f} of {codebook.codes:,} in {steps} steps: the "
        f"codebook collapses; try {codebook.remedies(remedies)}.",
    )


def _concentration(then: Spread, now: Spread, steps: int, codebook: WatchedCodebook) -> Finding:
    remedies = "a lower optimizer.lr, or the quantizers simvq or fsq"
    return Finding(
        "concentration",
        f"perplexity fell from {then.perplexity:,.1f} to {now.perplexity:,.1f} in {steps} steps, with {now.codes:,.0f} of "
        f"{codebook.codes:,} codes in use: a few codes take most tokens; try {codebook.remedies(remedies)}.",
    )
