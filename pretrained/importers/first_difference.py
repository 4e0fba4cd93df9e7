"""Name the first tensor of a checkpoint that differs, where only what follows from it is known."""

import re
from collections import Counter
from collections.abc import Iterator

from ...tokenizer.wording import shortened
from .base import Shapes


def with_source(problem: str, shapes: Shapes) -> str:
    """Return why a config is refused, with the tensor whose shape has a number in it that the sentence has too.

    Of several the one whose number is the rarest in the checkpoint, as the others of that size agree with one another.
    """
    told = layer_that_differs(shapes)
    if told:
        return told
    numbers = {int(digits) for digits in re.findall(r"\d{1,9}", problem)}
    common = Counter(size for shape in shapes.values() for size in set(shape))
    candidates = [(common[size], name) for name, shape in shapes.items() for size in set(shape) & numbers]
    if not candidates:
        return problem
    _, name = min(candidates, key=lambda each: each[0])
    return f"its tensor {shortened(name)} has the shape {shapes[name]}, but {problem}"


def layer_that_differs(shapes: Shapes) -> str:
    """Return a sentence on the first layer whose weight and bias have different numbers of channels, or ""."""
    return next(_differing_layers(shapes), "")


def _differing_layers(shapes: Shapes) -> Iterator[str]:
    for name, shape in shapes.items():
        bias = f"{name.removesuffix('weight')}bias"
        if name.endswith("weight") and shape and len(shapes.get(bias, ())) == 1 and shapes[bias] != shape[:1]:
            yield (
                f"its tensors {shortened(name)} and {shortened(bias)} have the shapes {shape} and {shapes[bias]}, which are "
                "not those of one layer"
            )
