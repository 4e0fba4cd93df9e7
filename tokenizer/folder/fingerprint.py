"""A cache for the fingerprint of a tokenizer whose weights may change."""

import weakref
from typing import NamedTuple

from torch import Tensor

from ..model import VisualTokenizer
from .save_load import TokenizerConfig, deciding_parts, fingerprint


class WeightVersion(NamedTuple):
    """The state of a weight when it was hashed."""

    weight: weakref.ref[Tensor]
    address: int
    version: int
    """Number of in-place changes that torch counted."""

    def is_still(self, weight: Tensor) -> bool:
        """Return whether it is the same weight, unchanged."""
        return self.weight() is weight and (self.address, self.version) == (weight.data_ptr(), weight._version)


class FingerprintCache:
    """Keep the fingerprints of one model, which take time to compute, until its weights change."""

    def __init__(self) -> None:
        self._versions: list[WeightVersion] = []
        self._known: dict[str, str] = {}

    def of(self, model: VisualTokenizer, config: TokenizerConfig) -> str:
        """Return the fingerprint of the model as it is now."""
        parts = deciding_parts(model).values()
        weights = [value for part in parts for value in part.state_dict(keep_vars=True).values()]
        if any(value.is_inference() for value in weights):  # torch counts no changes of these
            return fingerprint(model, config)
        if len(self._versions) != len(weights) or not all(map(WeightVersion.is_still, self._versions, weights)):
            self._versions = [WeightVersion(weakref.ref(value), value.data_ptr(), value._version) for value in weights]
            self._known = {}
        key = config.model_dump_json()
        if key not in self._known:
            self._known[key] = fingerprint(model, config)
        return self._known[key]

    def __reduce__(self) -> tuple[type["FingerprintCache"], tuple[()]]:
        return FingerprintCache, ()  # a copy has weights of its own
