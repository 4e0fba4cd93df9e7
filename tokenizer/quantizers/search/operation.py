"""The search as one operation of torch, which torch.compile takes as it is: vistok::nearest_codes."""

import warnings
from collections.abc import Callable
from functools import cache
from subprocess import SubprocessError
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ...devices import has_tensor_cores
from .certified import nearest_certified

Search: TypeAlias = Callable[[Tensor, Tensor, bool, bool, Tensor | None], Tensor]


def nearest(vectors: Tensor, codes: Tensor, is_dot: bool, exact: bool, excluded: Tensor | None) -> Tensor:
    """Return for each float32 vector the index of its nearest code, by the search of its device."""
    return _search_on(vectors.device)(vectors, codes, is_dot, exact, excluded)


@torch.library.custom_op("vistok::nearest_codes", mutates_args=())
def nearest_codes(vectors: Tensor, codes: Tensor, is_dot: bool, exact: bool, excluded: Tensor | None) -> Tensor:
    """Do what `nearest` does; a call costs more, and only compiled programs need it."""
    return nearest(vectors, codes, is_dot, exact, excluded)


@nearest_codes.register_fake
def _(vectors: Tensor, *_: Any) -> Tensor:
    return vectors.new_empty(vectors.shape[0], dtype=torch.int64)


@cache
def _search_on(device: torch.device) -> Search:
    """Return the kernels where the device has what they need and triton works, else the search of the CPU."""
    if not has_tensor_cores(device):  # for which the bound on rounding holds
        return nearest_certified
    try:
        from .kernels.search import nearest_by_kernels, start_triton

        start_triton()
    except ImportError:
        return nearest_certified
    except (RuntimeError, OSError, AssertionError, SubprocessError) as error:
        warnings.warn(
            f"Codes are searched more slowly, since triton cannot start here ({error}): install a C compiler, such as gcc, and "
            "the headers of Python.",
            stacklevel=2,
        )
        return nearest_certified
    return nearest_by_kernels
