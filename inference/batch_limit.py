"""How many images go through the networks together: a number of them, or as many as have a number of tokens."""

from typing import NamedTuple

from ..tokenizer.numerics.exact import MAX_PIXELS, batch_for, exact_batch

TOKENS_MARK = "t"


class BatchLimit(NamedTuple):
    """The size of a batch; as text it is part of a precision of `--fast`, such as 8 or 8192t."""

    number: int
    in_tokens: bool = False
    """Whether `number` is of tokens, positions of the grids of a batch together, where images differ in size."""

    def __str__(self) -> str:
        return f"{self.number}{TOKENS_MARK if self.in_tokens else ''}"

    def images(self, height: int, width: int, downsample: int) -> int:
        """Return how many images of `height` x `width` pixels a batch has, at least 1."""
        if self.in_tokens:
            return max(1, self.number * downsample**2 // (height * width))
        return batch_for(self.number, height, width)


def parse_limit(text: str) -> BatchLimit:
    """Return the limit that `str` wrote."""
    return BatchLimit(int(text.removesuffix(TOKENS_MARK)), text.endswith(TOKENS_MARK))


def token_budget(images: int, side: int, downsample: int) -> BatchLimit:
    """Return the budget of a batch of squares of `side` pixels; it has no more pixels than a batch of `images` may have."""
    pixels = min(images * side**2, max(MAX_PIXELS, images << 16))
    return BatchLimit(max(1, pixels // downsample**2), in_tokens=True)


def exact_network_batch(device_type: str, batch_size: int | None, height: int, width: int) -> int:
    """Return how many images of `height` x `width` go through an exact network together: on a CPU each goes alone."""
    return 1 if device_type == "cpu" else exact_batch(batch_size, height, width)


def whole_batches(images: int, batch: int) -> int:
    """Return the number of images in as many whole batches as `images` hold, at least one: a part would be padded."""
    return max(batch, images - images % batch)
