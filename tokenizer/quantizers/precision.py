"""Matrix products in float32 where a user allowed less."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

Settings = tuple[str, list[str]]
"""The precision of float32 products, and that of each backend."""


class _Raised:
    """Who is inside `full_precision`: the settings belong to the process, so that the first in and the last out change them."""

    lock = threading.Lock()
    inside = 0
    before: Settings


@contextmanager
def full_precision() -> Iterator[None]:
    """Multiply float32 matrices in float32: tf32 and bfloat16, which users may have allowed, keep three digits."""
    with _Raised.lock:
        if _Raised.inside == 0:
            _Raised.before = _settings()
            torch.set_float32_matmul_precision("highest")
        _Raised.inside += 1
    try:
        yield
    finally:
        with _Raised.lock:
            _Raised.inside -= 1
            if _Raised.inside == 0:
                _restore(_Raised.before)


def _settings() -> Settings:
    try:
        allowed = torch.get_float32_matmul_precision()
    except RuntimeError:  # raised where fp32_precision was set directly, which leaves this setting at its default
        allowed = "highest"
    return allowed, [backend.fp32_precision for backend in _backends()]


def _restore(settings: Settings) -> None:
    allowed, precisions = settings
    torch.set_float32_matmul_precision(allowed)
    for backend, precision in zip(_backends(), precisions, strict=True):
        backend.fp32_precision = precision


def _backends() -> tuple:  # type: ignore[type-arg]
    return torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
