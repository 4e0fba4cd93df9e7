"""The constraint: only what a layout allows next, as a logits processor and as a mask for one's own loop."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..layouts import Grid, Layout
from .fixed import FixedGrids
from .given import GridOrGrids, read_grids, read_starts
from .marks import Place, find_last_image
from .masks import Inside, Ranges, allow
from .sequel import Then, choose_sequel, text_mask


class ImageConstraint:
    """A logits processor that allows only what makes valid images; `generate` of transformers takes it in `logits_processor`.

    Say which grid images have: `grid`, one for all rows, or a list with one for each prompt (each may have several rows, side
    by side: beams, returned sequences); or `choices`, of which the model writes one; or `max_grid`, up to which it writes any.

    An image begins where the model emits its begin id; before, there is free text, without codes. With `start`, an index in
    `input_ids` or a list with one for each prompt, it begins there, which may be before the end of the prompt.

    `then` says what follows an image: "eos", the id that ends a sequence, and then padding; "pad", padding at once; or "text",
    in which another image may begin. Ids that are not given are those of the vocabulary's text.

    The state is read from `input_ids` in each call, so rows may be reordered, repeated or dropped between calls. With `grid`,
    no call but the first, which checks the prompt, waits for the device.
    """

    def __init__(
        self,
        layout: Layout,
        grid: GridOrGrids | None = None,
        *,
        choices: Sequence[Grid] | None = None,
        max_grid: Grid | None = None,
        start: int | Sequence[int] | None = None,
        then: Then | None = None,
        eos: int | None = None,
        pad: int | None = None,
    ):
        self.layout = layout
        self.grids = read_grids(layout, grid, choices, max_grid)
        self.marks = self.grids.marks
        self.starts = read_starts(start)
        last = int(layout.slots(self.grids.grids[0]).first[-1])
        self.sequel = choose_sequel(layout.vocabulary, then, eos, pad, last)
        if self.starts is None and self.marks.begin is None:
            raise ValueError(
                f"The layout {layout.name} has no id that begins an image: give start, the index in input_ids where it begins."
            )
        self._told_by_length = self.starts is not None and len(self.starts) == 1 and self.sequel.then != "text"
        self._size = max(layout.vocabulary.size, 1 + max(self.sequel.last, self.sequel.fill, self.sequel.eos or 0))
        self._texts: dict[tuple[int, torch.device], Tensor] = {}
        self._starts: dict[torch.device, Tensor] = {}
        self._checked = -1

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores `b v` of the id after `input_ids`, int64 `b n`, with -inf for all that may not come."""
        return allow(scores, self.allowed(input_ids, scores.shape[-1]))

    def allowed(self, input_ids: Tensor, size: int) -> Tensor:
        """Return which of `size` ids may come after `input_ids`, boolean `b v`, or `1 v` where it is the same for all rows."""
        self._check_call(input_ids, size)
        if self.starts is not None and isinstance(self.grids, FixedGrids) and self._told_by_length:
            return self._after_start(self.grids, input_ids, self.starts[0]).mask(size)
        place = find_last_image(input_ids, self.marks, self._first_ids(input_ids))
        if self._is_prompt(input_ids):
            self.grids.check(input_ids, place)
        return self._after_ids(input_ids, place, self.grids.inside(input_ids, place, size), size)

    def _after_start(self, grids: FixedGrids, ids: Tensor, start: int) -> Ranges:
        """Return what comes next when the length of the ids tells it."""
        if self._is_prompt(ids):
            first = ids.new_full((len(ids),), start)
            grids.check(ids, Place(first, torch.zeros_like(first, dtype=torch.bool)))
        position = torch.full((1,), ids.shape[1] - start, device=ids.device)
        inside = grids.at(position, len(ids))
        return self._or_end(inside.ranges, position < inside.lengths, position == inside.lengths)

    def _after_ids(self, ids: Tensor, place: Place, inside: Inside, size: int) -> Tensor:
        positions, begun = ids.shape[1] - place.first, place.first >= 0
        within = begun & ~place.ended & (positions < inside.lengths)
        closed = torch.zeros_like(within)
        if self.sequel.then != "text":
            last = ids[:, -1]
            complete = begun & ((positions == inside.lengths) | _is(last, self.marks.end))
            closed = begun & ~within & (complete | _is(last, self.sequel.eos) | _is(last, self.sequel.fill))
            inside = inside._replace(ranges=self._or_end(inside.ranges, within, complete))
        text = self._text_on(size, ids.device)
        return torch.where((within | closed)[:, None], inside.mask(size), text)

    def _or_end(self, ranges: Ranges, within: Tensor, complete: Tensor) -> Ranges:
        """Return the ranges of rows within an image, and for others the id that ends a sequence, or that fills it."""
        number = torch.where(complete, self.sequel.last, self.sequel.fill)
        return Ranges(torch.where(within, ranges.first, number), torch.where(within, ranges.end, number + 1))

    def _text_on(self, size: int, device: torch.device) -> Tensor:
        if (size, device) not in self._texts:
            mask = text_mask(self.layout.vocabulary, self.marks.begin, self.sequel, size)
            self._texts[size, device] = mask.to(device)
        return self._texts[size, device]

    def _first_ids(self, ids: Tensor) -> Tensor | None:
        """Return the given start of each row."""
        if self.starts is None:
            return None
        if ids.device not in self._starts:
            self._starts[ids.device] = torch.tensor(self.starts, device=ids.device)
        return self._starts[ids.device].repeat_interleave(len(ids) // len(self.starts))

    def _is_prompt(self, ids: Tensor) -> bool:
        """Return whether these ids do not go on from the last call: they are checked then, and nothing else depends on it."""
        before, self._checked = self._checked, ids.shape[1]
        return ids.shape[1] != before + 1

    def _check_call(self, ids: Tensor, size: int) -> None:
        earliest = max(self.starts or (0,))
        if not (self._told_by_length and isinstance(self.grids, FixedGrids)):
            earliest = max(earliest, 1)
        if ids.ndim != 2 or ids.shape[1] < earliest:
            raise ValueError(
                f"input_ids have the shape {tuple(ids.shape)}, but must be b n with n of at least {earliest}"
                f"{'' if self.starts is None else ', where images begin'}."
            )
        if size < self._size and size < (needed := self._needed(ids.shape[1])):
            raise ValueError(
                f"The scores have {size} ids, but the layout {self.layout.name} needs {needed}: extend the model, or give the "
                "vocabulary that it was extended for."
            )
        grids = self.grids.grids if isinstance(self.grids, FixedGrids) else ()
        for what, each in (("grids", grids), ("starts", self.starts or ())):
            if each and len(ids) % len(each):
                raise ValueError(
                    f"There are {len(ids)} rows for {len(each)} {what}, but each prompt must have as many rows: give one, or "
                    "one for each prompt."
                )

    def _needed(self, length: int) -> int:
        """Return how many scores there must be after `length` ids: fewer than the vocabulary has where no text may come."""
        if self.starts is None or not self._told_by_length or not isinstance(self.grids, FixedGrids):
            return self._size
        return max(self.grids.highest(length - self.starts[0]), self.sequel.last, self.sequel.fill) + 1


def _is(ids: Tensor, number: int | None) -> Tensor:
    return torch.zeros_like(ids, dtype=torch.bool) if number is None else ids == number
