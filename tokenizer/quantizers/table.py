"""The quantizers that are not made of others."""

from typing import TypeAlias

from .lattice.leech import LeechConfig
from .scalar.binary import BSQConfig, LFQConfig
from .scalar.fsp import FSPConfig
from .scalar.fsq import FSQConfig
from .vector.kinds import EMAConfig, FVQConfig, IBQConfig, SimVQConfig
from .vector.quantizer import VQConfig

ElementaryConfig: TypeAlias = (
    VQConfig
    | EMAConfig
    | SimVQConfig
    | FVQConfig
    | IBQConfig
    | FSQConfig
    | FSPConfig
    | LFQConfig
    | BSQConfig
    | LeechConfig
)

ELEMENTARY: dict[str, type[ElementaryConfig]] = {
    "vq": VQConfig,
    "ema": EMAConfig,
    "simvq": SimVQConfig,
    "fvq": FVQConfig,
    "ibq": IBQConfig,
    "fsq": FSQConfig,
    "fsp": FSPConfig,
    "lfq": LFQConfig,
    "bsq": BSQConfig,
    "leech": LeechConfig,
}
