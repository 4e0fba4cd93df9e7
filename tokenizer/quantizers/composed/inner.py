"""Which quantizers may be inside a composed one, and how its modules are typed."""

from collections.abc import Mapping
from typing import cast

from torch import nn

from ..base import Quantizer
from ..table import QUANTIZERS


def refused_name(values: object, holder: str) -> str | None:
    """Return the name of the inner quantizer if it is in QUANTIZERS but may not be inside `holder`."""
    name = values.get("name") if isinstance(values, Mapping) else getattr(values, "name", None)
    return name if isinstance(name, str) and name in QUANTIZERS and name not in allowed_names(holder) else None


def allowed_names(holder: str) -> list[str]:
    """Return the names of the quantizers that may be inside `holder`."""
    return [name for name, config in QUANTIZERS.items() if holder in config.allowed_in]


def quantizers_of(modules: nn.ModuleList) -> list[Quantizer]:
    """Return the quantizers of a list of modules that holds nothing else."""
    return cast(list[Quantizer], list(modules))
