"""Which quantizers may be inside a composed one, and how its modules are typed."""

from collections.abc import Iterator, Mapping
from typing import cast

from torch import nn

from ..base import Quantizer, QuantizerConfig
from ..table import QUANTIZERS


class AllowedIn(Mapping[str, type[QuantizerConfig]]):
    """The entries of QUANTIZERS that may be inside a composed quantizer, as they are at each reading."""

    def __init__(self, holder: str):
        self.holder = holder

    def __getitem__(self, name: str) -> type[QuantizerConfig]:
        config = QUANTIZERS[name]
        if self.holder not in config.allowed_in:
            raise KeyError(name)
        return config

    def __iter__(self) -> Iterator[str]:
        return (name for name, config in QUANTIZERS.items() if self.holder in config.allowed_in)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def refused(self, values: object) -> str | None:
        """Return the name that `values` gives, if QUANTIZERS has it but it may not be inside."""
        name = values.get("name") if isinstance(values, Mapping) else getattr(values, "name", None)
        return name if isinstance(name, str) and name in QUANTIZERS and name not in self else None


def quantizers_of(modules: nn.ModuleList) -> list[Quantizer]:
    """Return the quantizers of a list of modules that holds nothing else."""
    return cast(list[Quantizer], list(modules))
