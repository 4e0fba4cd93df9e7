"""Alarms about tokens that keep to few codes: measured against even use, and against the best window so far."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from ...evaluation.usage import Usage
from .expected import Spectrum, Spread, even_spread

COLLAPSE = 0.5
"""Fraction of the codes in use in the best window, had it had as few tokens, below which usage has collapsed."""
CONCENTRATION = 0.25
"""The same of the perplexity."""
LOW_USAGE = 0.1
"""Fraction of the codes that even use would reach below which a codebook hardly works, given a token a code or more."""
LOW_ENTROPY = 0.25
"""Fraction of the entropy of even use below which few codes take all tokens; that of Zipf's law is 0.5 or more."""
FRESH = 100
"""Steps in which latents find their directions."""
FRESH_SHARE = 0.2
"""What COLLAPSE and CONCENTRATION are multiplied by in these: from random weights on, use falls for a while and rises."""
PATIENCE = 3
"""Windows that a codebook is given to come to life."""
COMPUTED_CURES = (
    "a lower optimizer.lr, a greater losses.codebook_entropy if there is one, or ema with codebook.revive_every"
)
"""What to try where codes cannot be set one by one."""
FEWEST = 48
"""Tokens of a codebook that a window needs: with fewer, chance alone halves the codes in use now and then."""


class Finding(NamedTuple):
    """Something that is wrong."""

    name: str
    sentence: str


class Book(NamedTuple):
    """A codebook in a window."""

    name: str
    """What a sentence calls it; empty when it is the only one."""
    usage: Usage
    codes: int
    can_set: bool = True
    """Whether its codes can be set one by one: whether initialisation and revival are cures."""

    def cures(self, cures: str) -> str:
        """Return `cures`, or where codes are computed, what helps there."""
        return cures if self.can_set else COMPUTED_CURES


class _Best(NamedTuple):
    step: int
    spectrum: Spectrum


class SpreadAlarms:
    """Remembers the best windows of each codebook; its state goes into the checkpoint."""

    def __init__(self) -> None:
        self._windows = 0
        self._best: dict[str, dict[str, _Best]] = {}

    def check(self, step: int, counts: Tensor, books: list[Book]) -> list[Finding]:
        """Return what is wrong in the window that ended at `step`, one thing a codebook; `counts` has a row for each."""
        self._windows += 1
        return [
            finding._replace(
                name=f"{finding.name} {book.name}".rstrip(),
                sentence=f"{book.name}: {finding.sentence}" if book.name else finding.sentence,
            )
            for row, book in zip(counts, books, strict=True)
            for finding in self._of(step, row, book)[:1]
        ]

    def state_dict(self) -> dict[str, Any]:
        best = {
            name: {kind: [best.step, *best.spectrum] for kind, best in kinds.items()}
            for name, kinds in self._best.items()
        }
        return {"windows": self._windows, "best": best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._windows = state["windows"]
        self._best = {
            name: {kind: _Best(step, Spectrum(*spectrum)) for kind, (step, *spectrum) in kinds.items()}
            for name, kinds in state["best"].items()
        }

    def _of(self, step: int, counts: Tensor, book: Book) -> list[Finding]:
        spectrum = Spectrum.of(counts)
        tokens = spectrum.tokens
        if tokens < FEWEST:
            return []
        now = spectrum.spread(tokens)
        found = self._fallen(step, spectrum, now, book)
        return found + (self._low(tokens, book) if self._windows >= PATIENCE else [])

    def _fallen(self, step: int, spectrum: Spectrum, now: Spread, book: Book) -> list[Finding]:
        """Compare with the best windows, had they had as few tokens, and remember this one if it is better."""
        best = self._best.setdefault(book.name, {})
        share = FRESH_SHARE if step < FRESH else 1
        found = []
        for kind, fraction, finding in (
            ("codes", COLLAPSE, _collapse),
            ("perplexity", CONCENTRATION, _concentration),
        ):
            before = best.get(kind)
            then = before.spectrum.spread(spectrum.tokens) if before else Spread(0, 0)
            if before is None or getattr(now, kind) > getattr(then, kind):
                best[kind] = _Best(step, spectrum)
            elif getattr(now, kind) < fraction * share * getattr(then, kind):
                found.append(finding(then, now, step - before.step, book))
        return found

    def _low(self, tokens: int, book: Book) -> list[Finding]:
        even = even_spread(tokens, book.codes)
        # The fewer tokens there are for a code, the less it says that few codes occur.
        if book.usage.usage * book.codes < LOW_USAGE * min(1, tokens / book.codes) * even.codes:
            used = round(book.usage.usage * book.codes)
            return [
                Finding(
                    "unused",
                    f"only {used:,} of {book.codes:,} codes are in use: most never come near a latent; try "
                    + book.cures(
                        "codebook.initialization: kmeans, codebook.revive_every, or the quantizers simvq or fsq"
                    )
                    + ".",
                )
            ]
        if even.perplexity > 1 and math.log(book.usage.perplexity) < LOW_ENTROPY * math.log(even.perplexity):
            return [
                Finding(
                    "few",
                    f"perplexity is {book.usage.perplexity:,.1f}, where even use of {book.codes:,} codes would give "
                    f"{even.perplexity:,.1f}: nearly all tokens have the same few codes; try "
                    + book.cures(
                        "codebook.initialization: kmeans, a lower optimizer.lr, or the quantizers simvq or fsq"
                    )
                    + ".",
                )
            ]
        return []


def _collapse(then: Spread, now: Spread, steps: int, book: Book) -> Finding:
    return Finding(
        "collapse",
        f"the codes in use fell from {then.codes:,.0f} to {now.codes:,.0f} of {book.codes:,} in {steps} steps: the codebook "
        "collapses; try "
        + book.cures("codebook.revive_every, a lower optimizer.lr, or the quantizers simvq or fsq")
        + ".",
    )


def _concentration(then: Spread, now: Spread, steps: int, book: Book) -> Finding:
    return Finding(
        "concentration",
        f"perplexity fell from {then.perplexity:,.1f} to {now.perplexity:,.1f} in {steps} steps, with {now.codes:,.0f} of "
        f"{book.codes:,} codes in use: a few codes take most tokens; try "
        + book.cures("a lower optimizer.lr, or the quantizers simvq or fsq")
        + ".",
    )
