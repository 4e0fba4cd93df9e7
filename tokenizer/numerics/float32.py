"""Arithmetic of our own: float32, whatever a user has set for the process."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch.backends import cuda, cudnn, mkldnn

IEEE = "ieee"


class Setting(NamedTuple):
    """A setting of the process, and the value that we calculate with."""

    get: Callable[[], Any]
    set: Callable[[Any], None]
    ours: Any


class Settings:
    """Hold settings of the process at our values: whoever is first in changes them, whoever is last out puts them back."""

    def __init__(self, settings: list[Setting]):
        self._settings = settings
        self._before: list[Any] = []
        self._inside = 0
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold them; threads may overlap."""
        with self._lock:
            if self._inside == 0:
                self._before = [setting.get() for setting in self._settings]
                for setting in self._settings:
                    setting.set(setting.ours)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._put_back()

    def _put_back(self) -> None:
        for setting, value in zip(self._settings, self._before, strict=True):
            setting.set(value)

    def _after_fork(self) -> None:
        # The threads that were inside stay with the parent.
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._put_back()


def _attribute(owner: Any, name: str, ours: Any) -> Setting:
    return Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), ours)


def _precision(owner: Any, *firsts: str) -> Setting:
    def put(value: str) -> None:
        # A value may be a setting's own or that of the setting above it, which "none" takes on: nothing tells which.
        for possible in (*firsts, "none", value):
            owner.fp32_precision = possible
            if owner.fp32_precision == value:
                return

    return Setting(lambda: owner.fp32_precision, put, IEEE)


def _matmul_precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # raised where fp32_precision was set directly, which leaves this setting at its default
        return "highest"


_PRODUCTS = Settings(
    [
        Setting(_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        _precision(cuda.matmul),
        _precision(mkldnn.matmul),  # type: ignore[attr-defined]
    ]
)
_ALL_ELSE = Settings(
    [
        _precision(mkldnn.conv),  # type: ignore[attr-defined]
        _precision(cudnn.conv, "tf32"),  # type: ignore[attr-defined]  # as torch begins, whatever is above
        _precision(cudnn.rnn, "tf32"),
        _attribute(mkldnn, "enabled", True),
        _attribute(cudnn, "enabled", True),
        _attribute(cudnn, "benchmark", False),
        _attribute(cudnn, "deterministic", True),
        Setting(cuda.flash_sdp_enabled, cuda.enable_flash_sdp, True),
        Setting(cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, True),
        Setting(cuda.math_sdp_enabled, cuda.enable_math_sdp, True),
        Setting(cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, True),
        Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        Setting(
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
            (False, False),
        ),
    ]
)


def full_precision() -> Any:
    """Multiply float32 matrices in float32: tf32 and bfloat16, which users may have allowed, keep three digits."""
    return _PRODUCTS.held()


@contextmanager
def own_numerics(device: torch.device) -> Iterator[None]:
    """Calculate in float32 on `device`, without gradients, whatever the caller and the process have set.

    That is autocast, grad and inference mode, default type and device, deterministic algorithms, reduced precision of
    products and convolutions, cuDNN's choices and the forms of attention. Results are ordinary tensors.
    """
    with ExitStack() as stack:
        for held in (
            _PRODUCTS.held(),
            _ALL_ELSE.held(),
            torch.autocast(device.type, enabled=False),
            torch.inference_mode(False),
            torch.no_grad(),
            torch.device(device),
        ):
            stack.enter_context(held)
        yield
