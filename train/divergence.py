"""A loss that is not finite: noticed on the device, read at the steps that read from it anyway."""

import math

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..tokenizer.errors import WorkFailedError


class DivergedError(WorkFailedError):
    """A run whose losses or weights are not finite; those of the steps before may be finite and as useless."""


class Divergence:
    """Keeps the first step whose loss was not finite, over all processes."""

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self._first = torch.zeros(2, device=accelerator.device)  # in float32 steps up to 2^24 are exact

    def observe(self, loss: Tensor, step: int) -> None:
        """Take in the loss of a step; the device is not waited for."""
        loss = loss.detach().float()
        now = torch.stack([torch.full_like(loss, step), loss])
        is_first = ~loss.isfinite() & (self._first[0] == 0)
        self._first = torch.where(is_first, now, self._first)

    def without_nonsense(self, tokens: Tensor) -> Tensor:
        """Return the tokens, or zeros once a loss was not finite: those of latents that are NaN may be no codes."""
        return torch.where(self._first[0] == 0, tokens, 0)

    def found(self) -> str | None:
        """Return which loss was the first that was not finite, in words; every process must call it, and waits."""
        firsts = self._accelerator.gather(self._first[None])
        assert isinstance(firsts, Tensor)
        bad = [(int(step), loss) for step, loss in firsts.tolist() if step]
        if not bad:
            return None
        step, loss = min(bad, key=lambda each: each[0])
        return f"loss/total is {loss} at step {step}"


def is_finite(network: nn.Module) -> bool:
    """Return whether all parameters and buffers are finite; waits for the device."""
    floating = [values for values in [*network.parameters(), *network.buffers()] if values.is_floating_point()]
    return math.isfinite(float(torch.stack([(values.detach() * 0).sum().float() for values in floating]).sum()))
