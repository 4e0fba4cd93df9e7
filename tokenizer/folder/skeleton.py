"""The networks of a config without values, to compare the names and shapes of weights with."""

from ..model import VisualTokenizer, build_tokenizer
from ..networks.skeleton import without_values
from .config_json import TokenizerConfig


def build_skeleton(config: TokenizerConfig) -> VisualTokenizer:
    """Build a tokenizer on meta: it takes no memory.

    Raises ValueError when the parts of the config do not fit, and RuntimeError or OverflowError when a tensor has more values
    than an int64 counts.
    """
    with without_values():
        return build_tokenizer(config.architecture, config.quantizer)
