"""Arithmetic of our own: float32, whatever the caller has set for the process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import torch
from torch.backends import cuda, cudnn, mkldnn

from ..system import after_fork_in_child

IEEE = "ieee"


Setting: TypeAlias = tuple[Callable[[], Any], Callable[[Any], None], Any]
"""How a setting of the process is read and set, and our value of it."""


class Settings:
    """Hold settings of the process at our values: the first thread in sets them, the last one out restores them."""

    def __init__(self, settings: list[Setting]):
        self._settings = settings
        self._before: list[Any] = []
        self._inside = 0
        self._lock = threading.Lock()
        after_fork_in_child(self._after_fork)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold them; threads may overlap."""
        with self._lock:
            if self._inside == 0:
                self._before = [get() for get, _, _ in self._settings]
                for _, put, ours in self._settings:
                    put(ours)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._restore()

    def _restore(self) -> None:
        for (_, put, _), value in zip(self._settings, self._before, strict=True):
            put(value)

    def _after_fork(self) -> None:
        # The child has none of the threads that were inside.
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._restore()


def _attribute(owner: Any, name: str, ours: Any) -> Setting:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value), ours


def _precision(owner: Any, *firsts: str) -> Setting:
    def put(value: str) -> None:
        # The value may be the setting's own, or inherited from the setting above it, which is "none": nothing tells which.
        for possible in (*firsts, "none", value):
            owner.fp32_precision = possible
            if owner.fp32_precision == value:
                return

    return lambda: owner.fp32_precision, put, IEEE


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # raised where fp32_precision was set directly, which leaves this setting at its default
        return "highest"


_SETTINGS = Settings(
    [
        (_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        _precision(cuda.matmul),
        _precision(mkldnn.matmul),  # type: ignore[attr-defined]
        _precision(mkldnn.conv),  # type: ignore[attr-defined]
        _precision(cudnn.conv, "tf32"),  # type: ignore[attr-defined]  # the default of torch, whatever is above
        _precision(cudnn.rnn, "tf32"),
        _attribute(mkldnn, "enabled", True),
        _attribute(cudnn, "enabled", True),
        _attribute(cudnn, "benchmark", False),
        _attribute(cudnn, "deterministic", True),
        (cuda.flash_sdp_enabled, cuda.enable_flash_sdp, True),
        (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, True),
        (cuda.math_sdp_enabled, cuda.enable_math_sdp, True),
        (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, True),
        (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        (
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
            (False, False),
        ),
    ]
)


def multiplies_in_float32(device: torch.device) -> bool:
    """Return whether products of float32 matrices keep all digits: tf32 and bfloat16, if allowed, keep three."""
    backend: Any = cuda if device.type == "cuda" else mkldnn
    return backend.matmul.fp32_precision in ("none", IEEE)


@contextmanager
def own_numerics(device: torch.device) -> Iterator[None]:
    """Calculate in float32 on `device`, without gradients, whatever the caller has set.

    That covers autocast, grad and inference mode, default dtype and device, deterministic algorithms, reduced precision of
    products and convolutions, cuDNN's choices and the kinds of attention. It takes a lock and sets the process's settings,
    so training steps do without it. Results are ordinary tensors.
    """
    with ExitStack() as stack:
        for held in (
            _SETTINGS.held(),
            torch.autocast(device.type, enabled=False),
            torch.inference_mode(False),
            torch.no_grad(),
            torch.device(device),
        ):
            stack.enter_context(held)
        yield
