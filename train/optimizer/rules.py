"""Which parameters an optimizer takes, by their names."""

from typing import Literal

from ...tokenizer.config import Config, Pattern


class RuleConfig(Config):
    """Which parameters one optimizer takes."""

    pattern: Pattern
    """Regular expression that the whole parameter name must match."""
    use: Literal["muon", "adamw"]
    """Optimizer of the matching parameters."""
    decay: bool = True
    """Whether weight decay applies to them."""


PROJECTION_MATRICES = r"(.*\.)?codebook\.projection\.(linear|layers\.\d+)\.weight"
"""The matrices that map the basis of simvq to its codes."""
BRIDGE_MATRICES = r"(.*\.)?codebook\.projection\.(compress|recover|process\.\d+\.(attention|inner)_(in|out))\.weight"
"""The matrices of fvq's bridge, a small transformer over the codes."""
