"""The quantizers that are not made of others."""

from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from ..config import Config, ConfigError, parse_config, unknown_choice
from ..config_hints import shown
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

AnyConfig = TypeVar("AnyConfig", bound=Config)


def parse_elementary(values: object) -> ElementaryConfig:
    """Build the config that `values["name"]` names; raise ConfigError when the name or a key is unknown."""
    return parse_by_name(ELEMENTARY, values)


def parse_by_name(table: Mapping[str, type[AnyConfig]], values: object, section: str = "") -> AnyConfig:
    """Build the config of a table that `values["name"]` names, `section` being the path that messages begin with."""
    if not isinstance(values, Mapping):
        raise ValueError(
            f"a quantizer is a section with a name, such as {{name: fsq, ...}}, but this is {shown(values)}: write it so."
        )
    name = values.get("name")
    if not isinstance(name, str) or name not in table:
        key = f"{section}.name" if section else "name"
        raise ConfigError(
            unknown_choice("quantizer", f"{key} {shown(name)}", name if isinstance(name, str) else "", list(table))
        )
    return parse_config(table[name], values, section)
