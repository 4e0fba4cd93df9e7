"""Which quantizers may be inside a composed one, and how its modules are typed."""

from collections.abc import Iterator, Mapping
from typing import cast

from torch import nn

from ..base import QUANTIZERS, Quantizer, QuantizerConfig
from ..vector.config import VectorConfig

UNUSED_KEYS = ("squash", "commitment_by_length", "distribution", "region", "entropy_temperature", "sinkhorn")
"""Keys of vector quantizers that the scales of a multi-scale quantizer do not use."""


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


def check_level(quantizer: QuantizerConfig) -> QuantizerConfig:
    """Return the config of a residual level; raise ValueError when it does not choose the code that leaves least over."""
    if not isinstance(quantizer, VectorConfig):
        return quantizer
    if quantizer.gradient != "straight_through" or quantizer.soft:
        raise ValueError(
            f"the levels have gradient {quantizer.gradient!r}, but a residual quantizer sets it once, for the sum of the "
            "levels: give gradient beside depth, and levels that choose by distance alone (not ibq)."
        )
    if quantizer.similarity != "euclidean":
        raise ValueError(
            f"the levels have similarity {quantizer.similarity!r}, which does not choose the code that leaves least over: "
            "use euclidean."
        )
    if quantizer.squash != "none":
        raise ValueError(
            f"the levels have squash {quantizer.squash!r}, which would bend what is left over at every level: use none."
        )
    return quantizer


def check_scale(quantizer: QuantizerConfig) -> QuantizerConfig:
    """Return the config of the scales of a multi-scale quantizer; raise ValueError for what they do not use."""
    assert isinstance(quantizer, VectorConfig)
    if quantizer.gradient != "straight_through" or quantizer.soft:
        raise ValueError(
            f"the scales have gradient {quantizer.gradient!r}, but the multi-scale quantizer copies the gradient to the "
            "latent: use straight_through and no soft assignment."
        )
    for key in UNUSED_KEYS:
        if (value := getattr(quantizer, key)) != VectorConfig.model_fields[key].default:
            raise ValueError(
                f"the scales have {key} {value!r}, which the multi-scale quantizer does not use: remove it."
            )
    return quantizer
