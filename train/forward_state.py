"""What forwards change besides gradients: statistics of codebooks, batch norms and spectral norms."""

import torch
from torch import Tensor, nn

from ..tokenizer.quantizers.vector.codebooks import Codebook


class ForwardState:
    """Copies of the buffers that forwards of some modules may change, to set them back if the step is skipped.

    The tables of codebooks that learn from losses do not change in a forward, and may be large: they are left out.
    """

    def __init__(self, *modules: nn.Module):
        constant = {
            id(inner)
            for module in modules
            for codebook in module.modules()
            if isinstance(codebook, Codebook) and codebook.learns_from_loss
            for inner in codebook.modules()
        }
        self._owners = [
            (inner, name)
            for module in modules
            for inner in module.modules()
            if id(inner) not in constant
            for name, _ in inner.named_buffers(recurse=False)
        ]
        self._before: list[Tensor] = []

    def remember(self) -> None:
        """Copy the buffers as they are."""
        self._before = [getattr(module, name).clone() for module, name in self._owners]

    @torch.no_grad()
    def restore(self, skip: Tensor | None = None) -> None:
        """Set them back in place, or only where the boolean scalar `skip` is true; no device sync."""
        for (module, name), before in zip(self._owners, self._before, strict=True):
            buffer = getattr(module, name)
            buffer.copy_(before if skip is None else torch.where(skip, before, buffer))
