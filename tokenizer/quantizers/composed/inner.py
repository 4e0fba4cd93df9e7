"""Which quantizers may be inside a composed one, and how its modules are typed."""

from collections.abc import Iterator, Mapping
from typing import cast

from torch import nn

from ..base import Quantizer, QuantizerConfig
from ..table import QUANTIZERS


class AllowedIn(Mapping[str, type[QuantizerConfig]]):
    """The entries of QUANTIZERS that may be inside a composed quantizer, as they are at each reading."""

    def __init__(self, holder: str, task: str):
        self.holder = holder
        self.task = task
        """What the others cannot do, for the sentence that refuses them."""

    def __getitem__(self, name: str) -> type[QuantizerConfig]:
        return {name: QUANTIZERS[name] for name in self}[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, config in QUANTIZERS.items() if self.holder in config.allowed_in)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def check(self, values: object) -> object:
        """Return `values`; raise ValueError when they name a quantizer of QUANTIZERS that may not be inside."""
        name = values.get("name") if isinstance(values, Mapping) else getattr(values, "name", None)
        if isinstance(name, str) and name in QUANTIZERS and name not in self:
            raise ValueError(f"{name} cannot {self.task}: use {', '.join(self)}.")
        return values


def quantizers_of(modules: nn.ModuleList) -> list[Quantizer]:
    """Return the quantizers of a list of modules that holds nothing else."""
    return cast(list[Quantizer], list(modules))
