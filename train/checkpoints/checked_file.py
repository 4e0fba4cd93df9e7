"""States in one file that begins with its digest; loading it cannot run code."""

import hashlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from ...tokenizer.files import write_whole

DIGEST = hashlib.sha256().digest_size


def save_checked(path: Path, states: Any) -> None:
    """Write states of tensors and plain values; raise OSError when the disk refuses."""
    buffer = io.BytesIO()
    torch.save(states, buffer)
    content = buffer.getvalue()
    write_whole(path, hashlib.sha256(content).digest() + content)


def load_checked(path: Path) -> Any:
    """Return the states, on the CPU, or None when there is no such file; raise ValueError when it is damaged."""
    if not path.exists():
        return None
    stored = path.read_bytes()
    digest, content = stored[:DIGEST], stored[DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(f"{path} is damaged.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about forms of pickle that are refused anyway
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's own message advises to let the file run code
        raise ValueError(f"{path} is damaged: it holds more than tensors and plain values.") from None
