"""Name the first tensor of a checkpoint that differs, where only what follows from it is known."""

import re
from collections import Counter
from collections.abc import Iterator

from .base import Shapes, TensorError


def with_source(problem: str, shapes: Shapes) -> ValueError:
    """Return the error that a config is refused, with the tensor from whose shape it takes the number that it complains of.

    Of several the one whose size was asked for least often, as the others of one size agree with one another.
    """
    told = layer_that_differs(shapes)
    if told:
        return told
    got, _, _ = problem.partition(", but must")
    numbers = {int(digits) for digits in re.findall(r"\d{1,9}", got)}
    common = Counter(size for size, _ in shapes.sizes)
    candidates = [(common[size], name) for size, name in shapes.sizes if size in numbers]
    if not candidates:
        return ValueError(problem)
    _, name = min(candidates, key=lambda each: each[0])
    said = f"has the shape {shapes[name]}, so {problem}"
    return TensorError(f"its tensor {{}} {escaped(said)}", name)


def layer_that_differs(shapes: Shapes) -> TensorError | None:
    """Return the error of the first layer whose weight and bias have different numbers of channels, if there is one."""
    return next(_differing_layers(shapes), None)


def _differing_layers(shapes: Shapes) -> Iterator[TensorError]:
    for name, shape in shapes.items():
        bias = f"{name.removesuffix('weight')}bias"
        if name.endswith("weight") and shape and len(shapes.get(bias, ())) == 1 and shapes[bias] != shape[:1]:
            said = f"have the shapes {shape} and {shapes[bias]}, which are not those of one layer"
            yield TensorError(f"its tensors {{}} and {{}} {said}", name, bias)


def escaped(text: str) -> str:
    """Return a text as part of a template."""
    return text.replace("{", "{{").replace("}", "}}")
