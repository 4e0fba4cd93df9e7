"""Which parameters of a tokenizer one optimizer takes, by their names."""

from typing import Literal

from ...tokenizer.config import Config, Pattern


class RuleConfig(Config):
    """Which parameters one optimizer takes."""

    pattern: Pattern
    """Regular expression that the whole parameter name must match."""
    use: Literal["muon", "adamw"]
    """Optimizer of the parameters that match."""
    decay: bool = True
    """Whether weight decay applies to them."""


PROJECTION_MATRICES = r"(.*\.)?codebook\.projection\.(linear|layers\.\d+)\.weight"
"""The matrices between the basis and the codes of simvq."""
BRIDGE_MATRICES = r"(.*\.)?codebook\.projection\.(compress|recover|process\.\d+\.(attention|inner)_(in|out))\.weight"
"""The matrices of fvq's bridge, a small transformer over the codes."""

DEFAULT_RULES = [
    RuleConfig(
        pattern=r"(encoder|decoder)\.(levels|middle)\..*\.(conv\d?|shortcut|query|key|value|out)\.weight", use="muon"
    ),
    RuleConfig(pattern=r"(encoder|decoder)\.conv_(in|out)\.weight", use="adamw"),
    RuleConfig(pattern=r"quantizer_(in|out)\.weight", use="adamw"),
    RuleConfig(pattern=r"quantizer\..*", use="adamw", decay=False),
    RuleConfig(pattern=r"(encoder|decoder)\..*norm\w*\.weight", use="adamw", decay=False),
    RuleConfig(pattern=r"(encoder|decoder|quantizer_in|quantizer_out)\.(.*\.)?bias", use="adamw", decay=False),
]
"""Hidden convolutions to Muon; first and last layers, codebook and its projection, norms and biases to AdamW."""
