"""Which quantizers may be inside a composed one, and how its modules are typed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from torch import nn

from ..base import Quantizer, QuantizerConfig
from ..vector.config import VectorConfig

UNUSED_KEYS = ("squash", "commitment_by_length", "distribution", "region", "entropy_temperature", "sinkhorn")
"""Keys of vector quantizers that the scales of a multi-scale quantizer do not use."""


@dataclass(frozen=True)
class AllowedIn:
    """The entries of QUANTIZERS that may be inside a composed quantizer."""

    holder: str
    task: str
    """What the others cannot do, for the sentence that refuses them."""

    def entries(self) -> dict[str, type[QuantizerConfig]]:
        """Return those entries as they are now."""
        return {name: config for name, config in all_quantizers().items() if self.holder in config.allowed_in}

    def check(self, values: object) -> object:
        """Return `values`; raise ValueError when they name a quantizer of QUANTIZERS that may not be inside."""
        name = values.get("name") if isinstance(values, Mapping) else getattr(values, "name", None)
        allowed = self.entries()
        if isinstance(name, str) and name in all_quantizers() and name not in allowed:
            raise ValueError(f"{name} cannot {self.task}: use {', '.join(allowed)}.")
        return values


def all_quantizers() -> dict[str, type[QuantizerConfig]]:
    """Return QUANTIZERS, imported late, because it names the composed quantizers too."""
    from .. import QUANTIZERS

    return QUANTIZERS


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
            "levels: give gradient beside depth, and levels that choose by distance alone."
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
