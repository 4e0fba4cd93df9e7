"""The fingerprint of a tokenizer: the SHA-256 of what its tokens depend on."""

import hashlib
import json
import weakref

import torch
from torch import Tensor, nn

from ..model import VisualTokenizer
from .config_json import TokenizerConfig


def fingerprint(model: VisualTokenizer, config: TokenizerConfig) -> str:
    """Return the SHA-256 of what the tokens depend on: encoder, quantizer and preprocessing, not the decoder.

    Weights are hashed as float32 values, so the storage type of the file does not matter but its rounding does. A quantizer is
    hashed in the form that it has: one with training state, such as SimVQ's matrix, has another fingerprint than its codes,
    which give the same tokens. Hashing codes that are computed would make the fingerprint depend on the processor.
    """
    # Only what differs from the defaults: keys added by later versions then keep the fingerprints of today.
    facts = {
        "architecture": [
            config.architecture.name,
            config.architecture.model_dump(exclude={"decoder", "encoder_only"}, exclude_defaults=True),
        ],
        "quantizer": [config.quantizer.name, config.quantizer.model_dump(exclude_defaults=True)],
        "preprocessing": config.preprocessing.model_dump(exclude_defaults=True),
    }
    if model.dtype != torch.float32:
        facts["dtype"] = str(model.dtype)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part, module in deciding_parts(model).items():
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().float().reshape(-1).numpy())
    return digest.hexdigest()


def deciding_parts(model: VisualTokenizer) -> dict[str, nn.Module]:
    """Return the parts of a model that the tokens depend on."""
    return {"encoder": model.encoder, "quantizer_in": model.quantizer_in, "quantizer": model.quantizer}


class FingerprintCache:
    """Keep the fingerprints of one model, which take time to compute, until its weights change."""

    def __init__(self) -> None:
        self._versions: list[tuple[weakref.ref[Tensor], int, int]] = []
        """Each weight, its address, and how many in-place changes torch counted."""
        self._known: dict[str, str] = {}

    def of(self, model: VisualTokenizer, config: TokenizerConfig) -> str:
        """Return the fingerprint of the model as it is now."""
        parts = deciding_parts(model).values()
        weights = [value for part in parts for value in part.state_dict(keep_vars=True).values()]
        if any(value.is_inference() for value in weights):  # torch counts no changes of these
            return fingerprint(model, config)
        if not self._has_same(weights):
            self._versions = [(weakref.ref(value), value.data_ptr(), value._version) for value in weights]
            self._known = {}
        key = config.model_dump_json()
        if key not in self._known:
            self._known[key] = fingerprint(model, config)
        return self._known[key]

    def _has_same(self, weights: list[Tensor]) -> bool:
        return len(self._versions) == len(weights) and all(
            known() is value and address == value.data_ptr() and version == value._version
            for (known, address, version), value in zip(self._versions, weights, strict=True)
        )

    def __reduce__(self) -> tuple[type["FingerprintCache"], tuple[()]]:
        return FingerprintCache, ()  # a copy has its own weights
