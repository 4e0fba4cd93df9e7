"""Watches the samples of a decoder in training: how much they differ over seeds, and how large they are."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from ...tokenizer.decoders.base import ExtraDecoder
from ...tokenizer.decoders.noise import seeded_noise
from ...tokenizer.shapes import Pixels
from ..opponent import Made
from ..speed import uncompiled

IMAGES = 16
"""Images of a batch to look at, at most."""
SEEDS = (0, 1)
OF_SEEDS, OF_RESIDUAL = "spread/seeds", "spread/residual"
RECENT = 4
"""Measurements whose mean is checked: one batch has more texture than the next."""
HAD_SPREAD = 0.1
"""Spread over seeds that a decoder must have had before a fall of it is a collapse."""
ENOUGH = 0.5
"""More than this counts no further: a decoder may paint too much early on."""
COLLAPSED = 0.3
"""Fraction of the largest spread so far below which the decoder has collapsed."""
RAN_AWAY = 2.0
"""Size of the painted residual, relative to the true one, that no decoder should have."""
OVER = 5
"""Measurements without a finding until it counts as over."""


class Spread(NamedTuple):
    """What was measured, and what is wrong with it."""

    values: dict[str, float]
    """By log path."""
    alarms: list[str]
    """A sentence each, when a finding begins."""


NO_SPREAD = Spread({}, [])


class SpreadWatch:
    """Samples images of a batch from two fixed seeds; its state is part of the checkpoint.

    `spread/seeds` is the standard deviation over seeds as a fraction of the true residual's root mean square: near 1 for a
    decoder that samples what the tokens leave open, 0 for one that always answers the same. `spread/residual` is the size of
    the painted residual, as a fraction of the same: near 1, and lower for cautious decoders.
    """

    def __init__(self, decoder: ExtraDecoder, remedy: str, accelerator: Accelerator):
        self._decoder = decoder
        self._remedy = remedy
        self._accelerator = accelerator
        self._largest = 0.0
        self._recent: list[tuple[float, float]] = []
        self._active: dict[str, int] = {}  # measurements since each finding was last found

    def measure(self, images: Pixels, made: Made) -> Spread:
        """Return the spread on images and what was made of them; it syncs, and every process must call it."""
        means = self._accelerator.reduce(self._squares(images[:IMAGES].float(), made), reduction="mean")
        assert isinstance(means, Tensor)
        apart, painted, true = means.sqrt().tolist()
        if not (0 < true < float("inf") and apart < float("inf") and painted < float("inf")):
            return NO_SPREAD  # of a step that is not finite, which others report
        values = {OF_SEEDS: apart / true, OF_RESIDUAL: painted / true}
        return Spread(values, self._check(values))

    @torch.no_grad()
    def _squares(self, images: Pixels, made: Made) -> Tensor:
        """Return the variance over seeds, and the mean squares of painted and of true residual."""
        base, codes = made.base[: len(images)].float(), made.quantized[: len(images)]
        was_training = self._decoder.training
        self._decoder.eval()
        with uncompiled(), self._accelerator.autocast():
            first, second = (self._decoder(codes, base, self._noise(seed, base)).float() for seed in SEEDS)
        self._decoder.train(was_training)
        differences = ((first - second).square() / 2, (first - base).square(), (images - base).square())
        return torch.stack([each.mean() for each in differences])

    def _noise(self, seed: int, base: Pixels) -> Tensor:
        shape = self._decoder.noise_shape(*base.shape[2:])
        return seeded_noise(seed, shape, base.device).expand(len(base), -1, -1, -1)

    def _check(self, values: dict[str, float]) -> list[str]:
        self._recent = [*self._recent, (values[OF_SEEDS], values[OF_RESIDUAL])][-RECENT:]
        if len(self._recent) < RECENT:
            return []
        seeds, residual = (sum(column) / RECENT for column in zip(*self._recent, strict=True))
        found = dict(self._findings(seeds, residual))
        self._largest = max(self._largest, min(ENOUGH, seeds))
        new = [sentence for name, sentence in found.items() if name not in self._active]
        since = {name: count + 1 for name, count in self._active.items() if count + 1 < OVER}
        self._active = since | dict.fromkeys(found, 0)
        return new

    def _findings(self, seeds: float, residual: float) -> Iterator[tuple[str, str]]:
        if self._largest >= HAD_SPREAD and seeds < COLLAPSED * self._largest:
            yield (
                "collapse",
                f"samples of different seeds are nearly the same (spread/seeds is {seeds:.2f}, after {self._largest:.2f}): "
                f"the decoder collapses; try {self._remedy}.",
            )
        if residual > RAN_AWAY:
            yield (
                "runaway",
                f"the decoder paints {residual:.1f} times as much as the plain answers lack (spread/residual): it runs away; "
                f"try {self._remedy}.",
            )

    def state_dict(self) -> dict[str, Any]:
        return {"largest": self._largest, "recent": list(self._recent), "active": dict(self._active)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._largest = state["largest"]
        self._recent = [(seeds, residual) for seeds, residual in state["recent"]]
        self._active = dict(state["active"])
