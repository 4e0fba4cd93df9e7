"""The networks of a config without values, to compare the names and shapes of weights with."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..model import VisualTokenizer, build_tokenizer
from .config_json import TokenizerConfig

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


def build_skeleton(config: TokenizerConfig) -> VisualTokenizer:
    """Build a tokenizer on meta: it takes no memory.

    Raises ValueError when the parts of the config do not fit, and RuntimeError or OverflowError when a tensor has more values
    than an int64 counts.
    """
    with torch.device("meta"), _WithoutDraws():
        return build_tokenizer(config.architecture, config.quantizer)
