"""The quantizers that can be chosen by name."""

from .base import QuantizerConfig
from .lattice.leech import LeechConfig
from .scalar.binary import BSQConfig, LFQConfig
from .scalar.fsp import FSPConfig
from .scalar.fsq import FSQConfig
from .vector.gumbel import GumbelConfig
from .vector.kinds import EMAConfig, FVQConfig, IBQConfig, SimVQConfig
from .vector.quantizer import VQConfig

QUANTIZERS: dict[str, type[QuantizerConfig]] = {
    "vq": VQConfig,
    "ema": EMAConfig,
    "simvq": SimVQConfig,
    "fvq": FVQConfig,
    "ibq": IBQConfig,
    "gumbel": GumbelConfig,
    "fsq": FSQConfig,
    "fsp": FSPConfig,
    "lfq": LFQConfig,
    "bsq": BSQConfig,
    "leech": LeechConfig,
}
"""By name. The composed quantizers, whose configs read this table, join it in the package's `__init__`."""
