"""What makes training faster or smaller and changes no result but by rounding: memory format, compilation, recomputation."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..tokenizer.networks.base import Network

MemoryFormat = Literal["auto", "contiguous", "channels_last"]
BACKEND = "inductor"
"""Compiler behind torch.compile."""


def memory_format(choice: MemoryFormat, device: torch.device) -> torch.memory_format:
    """Return the format of images and kernels; auto is channels last on CPUs alone.

    A CPU convolves channels last faster. On an H200 the f16 network trained at 131 images/s contiguous against 94, since CUDA
    has no group norm for channels last, and compiled at 205 against 184.
    """
    is_last = device.type == "cpu" if choice == "auto" else choice == "channels_last"
    return torch.channels_last if is_last else torch.contiguous_format


def recompute_activations(networks: Iterable[Network]) -> None:
    """Let each block of the networks keep its input alone for the backward pass, which runs its forward again; in place.

    Raises ValueError when the networks have no blocks.
    """
    blocks = [block for network in networks for block in network.recomputable()]
    if not blocks:
        raise ValueError(
            "run.activation_checkpointing is true, but the networks have no blocks to compute again: set it to false, or "
            "give their blocks the attribute is_block."
        )
    for block in blocks:
        # On the object, so that weights keep their names.
        block.forward = partial(_recomputed, block.forward)


def _recomputed(forward: Any, *inputs: Tensor) -> Any:
    return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)


def compile_networks(networks: Iterable[Network], others: Iterable[nn.Module]) -> None:
    """Compile encoders and decoders, a decoder up to its last layer, and other networks, at their first call; in place.

    Weights keep their names. Copies of a network that were made before are not compiled. All inputs must keep their shapes.
    """
    # The adaptive weight differentiates the compiled graphs before the backward pass does: nothing may be given away.
    torch._functorch.config.donated_buffer = False
    for network in networks:
        name = network.traced
        setattr(network, name, torch.compile(getattr(network, name), dynamic=False, backend=BACKEND))
    for other in others:
        other.compile(dynamic=False, backend=BACKEND)


def uncompiled() -> AbstractContextManager[None]:
    """Return a context in which compiled networks run as they were written: for other shapes, and second derivatives."""
    return torch.compiler.set_stance("force_eager")
