"""Short digests of what went into a document, so that whoever reads its ids can prove that it came back."""

import hashlib
from collections.abc import Sequence

import numpy as np


def digest_of_tokens(tokens: np.ndarray) -> str:
    """Return 64 bits of tokens `q y x`, whatever their type."""
    shape = " ".join(map(str, tokens.shape))
    content = np.ascontiguousarray(tokens, "<u8")
    return hashlib.blake2b(shape.encode() + content.tobytes(), digest_size=8).hexdigest()


def digest_of_text(texts: Sequence[str]) -> str:
    """Return 64 bits of texts in their order."""
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
