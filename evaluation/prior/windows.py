"""Windows of sequences that the transformer sees at once, and batches of them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .symbols import Alphabet, Symbols


class Window(NamedTuple):
    """A part of an image's symbols: whole positions, of which the symbols from `counted` on are predicted for their bits."""

    image: int
    start: int
    stop: int
    counted: int


class Batch(NamedTuple):
    """Windows side by side, padded at their ends; all is `b n`."""

    before: Tensor
    """The symbol before each, as a row in the table of all slots; the row after the last where the image begins."""
    targets: Tensor
    """The symbols to predict."""
    rows: Tensor
    """Rows of the grid of their positions."""
    columns: Tensor
    counted: Tensor
    """Whether the bits of a symbol count."""


class Windows:
    """Cuts windows of at most `context` symbols, and at least two positions, out of images."""

    def __init__(self, alphabet: Alphabet, images: Sequence[Symbols], context: int):
        self.alphabet = alphabet
        self.images = images
        self.slots = len(alphabet.slots)
        self.positions = max(2, context // self.slots)
        """Max positions of a window."""
        longest = max(len(image.values) for image in images)
        self.per_part = max(1, context // min(longest, self.positions * self.slots))
        """Windows that are calculated together."""

    def all_of(self, image: int) -> list[Window]:
        """Return windows that count every symbol of an image once; each but the first begins with half a window of context."""
        length = len(self.images[image].values)
        whole, step = self.positions * self.slots, self.positions // 2 * self.slots
        windows = [Window(image, 0, min(whole, length), 0)]
        while (counted := windows[-1].stop) < length:
            stop = min(counted + step, length)
            windows.append(Window(image, stop - whole, stop, counted))
        return windows

    def random(self, image: int, generator: torch.Generator) -> Window:
        """Return a window of an image that begins at any position with equal probability; all of a short image."""
        positions = len(self.images[image].values) // self.slots
        last = max(0, positions - self.positions)
        start = int(torch.randint(last + 1, (), generator=generator)) * self.slots
        return Window(image, start, min(start + self.positions * self.slots, positions * self.slots), start)

    def batch(self, windows: Sequence[Window], device: torch.device) -> Batch:
        """Return windows side by side."""
        length = max(window.stop - window.start for window in windows)
        offsets = torch.tensor([slot.offset for slot in self.alphabet.slots])
        fields = [torch.zeros(len(windows), length, dtype=torch.int64) for _ in range(4)]
        counted = torch.zeros(len(windows), length, dtype=torch.bool)
        for index, window in enumerate(windows):
            image = self.images[window.image]
            at = torch.arange(window.start, window.stop)
            values = image.values[window.start : window.stop]
            earlier = (at - 1).clamp_min(0)
            before = image.values[earlier] + offsets[earlier % self.slots]
            before = torch.where(at == 0, self.alphabet.size, before)
            position = at // self.slots
            for field, part in zip(
                fields, (before, values, position // image.columns, position % image.columns), strict=True
            ):
                field[index, : len(at)] = part
            counted[index, : len(at)] = at >= window.counted
        return Batch(*(each.to(device) for each in (*fields, counted)))
