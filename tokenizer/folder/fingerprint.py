"""The fingerprint of a tokenizer whose weights may change."""

import weakref
from typing import NamedTuple

from torch import Tensor

from ..model import VisualTokenizer
from .save_load import TokenizerConfig, deciding_parts, fingerprint


class Seen(NamedTuple):
    """A weight as it was."""

    weight: weakref.ref[Tensor]
    address: int
    version: int
    """How often torch saw it change."""

    def is_still(self, weight: Tensor) -> bool:
        """Return whether it is this one, unchanged."""
        return self.weight() is weight and (self.address, self.version) == (weight.data_ptr(), weight._version)


class FingerprintCache:
    """Fingerprints of one model, which take a while to calculate, for as long as its weights stay as they are."""

    def __init__(self) -> None:
        self._seen: list[Seen] = []
        self._known: dict[str, str] = {}

    def of(self, model: VisualTokenizer, config: TokenizerConfig) -> str:
        """Return the fingerprint of the model as it is now."""
        parts = deciding_parts(model).values()
        weights = [value for part in parts for value in part.state_dict(keep_vars=True).values()]
        if any(value.is_inference() for value in weights):  # of which torch counts no changes
            return fingerprint(model, config)
        if len(self._seen) != len(weights) or not all(map(Seen.is_still, self._seen, weights)):
            self._seen = [Seen(weakref.ref(value), value.data_ptr(), value._version) for value in weights]
            self._known = {}
        key = config.model_dump_json()
        if key not in self._known:
            self._known[key] = fingerprint(model, config)
        return self._known[key]

    def __reduce__(self) -> tuple[type["FingerprintCache"], tuple[()]]:
        return FingerprintCache, ()  # a copy has weights of its own
