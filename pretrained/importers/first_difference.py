"""Name the first tensor of a checkpoint that differs, where only what follows from it is known."""

import re
from collections import Counter
from collections.abc import Iterator

from ...tokenizer.wording import shortened
from .base import Shapes


def with_source(problem: str, shapes: Shapes) -> str:
    """Return why a config is refused, with the tensor from whose shape it takes a number that the sentence has too.

    Of several the one whose size was asked for least often, as the others of one size agree with one another.
    """
    told = layer_that_differs(shapes)
    if told:
        return told
    numbers = {int(digits) for digits in re.findall(r"\d{1,9}", problem)}
    common = Counter(size for size, _ in shapes.sizes)
    candidates = [(common[size], name) for size, name in shapes.sizes if size in numbers]
    if not candidates:
        return problem
    _, name = min(candidates, key=lambda each: each[0])
    return f"its tensor {shortened(name)} has the shape {shapes[name]}, so {problem}"


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
