"""What an extra decoder was trained for: the codes and the plain decoder of one tokenizer."""

import hashlib
import json

from ..model import VisualTokenizer


def decoder_digest(model: VisualTokenizer) -> str:
    """Return the SHA-256 of what codes and plain answers depend on: quantizer and plain decoder, of float32 weights.

    It covers neither encoder nor preprocessing, on which an extra decoder does not depend: images may be resized otherwise.
    """
    quantizer = model.quantizer.config
    facts = {
        "architecture": [model.architecture.name, model.architecture.model_dump(exclude_defaults=True)],
        "quantizer": [quantizer.name, quantizer.model_dump(exclude_defaults=True)],
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for part, module in model.plain._asdict().items():
        for name, value in sorted(module.state_dict().items()):
            digest.update(f"{part}.{name} {tuple(value.shape)}".encode())
            digest.update((value.detach().cpu().float() + 0.0).reshape(-1).numpy())  # -0.0 counts as 0.0
    return digest.hexdigest()
