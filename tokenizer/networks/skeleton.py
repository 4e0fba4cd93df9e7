"""Networks without values: their names and shapes, for no memory and no time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SAME_SHAPE: frozenset[Any] = frozenset({Tensor.normal_, Tensor.uniform_, Tensor.mul, Tensor.__mul__})
"""How modules draw their first values."""


class _WithoutDraws(TorchFunctionMode):
    """Skip first values, for which torch on meta would import its compiler: seconds, and a hundred megabytes."""

    def __torch_function__(
        self, function: Callable[..., Any], _: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in SAME_SHAPE and not any(isinstance(other, Tensor) for other in args[1:]):
            return args[0]
        return (torch.empty if function is torch.randn else function)(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """Build networks on meta: they take no memory.

    A tensor of more values than an int64 counts raises RuntimeError or OverflowError.
    """
    with torch.device("meta"), _WithoutDraws():
        yield
