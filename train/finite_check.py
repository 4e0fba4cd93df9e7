"""Finds losses and weights that are not finite, and ends the run."""

import math
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..tokenizer.errors import WorkFailedError
from .checkpoints.checkpoint import good_checkpoint


class DivergedError(WorkFailedError):
    """A loss or a weight of a run is not finite; weights of earlier steps may be finite and just as useless."""


class FiniteCheck:
    """Remembers on the device the first step whose loss was not finite, so that only `check_losses` syncs."""

    def __init__(self, accelerator: Accelerator, checkpoints: Path):
        self._accelerator = accelerator
        self._checkpoints = checkpoints
        self._first = torch.zeros(2, device=accelerator.device)  # step and loss; float32 holds steps up to 2^24

    def observe(self, loss: Tensor, step: int) -> None:
        """Take in the loss of a step, without a device sync."""
        loss = loss.detach().float()
        now = torch.stack([torch.full_like(loss, step), loss])
        is_first = ~loss.isfinite() & (self._first[0] == 0)
        self._first = torch.where(is_first, now, self._first)

    def mask_tokens(self, tokens: Tensor) -> Tensor:
        """Return the tokens, or zeros after a loss that was not finite: tokens of NaN may be out of range."""
        return torch.where(self._first[0] == 0, tokens, 0)

    def check_losses(self) -> None:
        """Raise DivergedError on all processes if any loss so far was not finite on any; every process must call it."""
        gathered = self._accelerator.gather(self._first[None])
        assert isinstance(gathered, Tensor)
        bad = [(int(step), loss) for step, loss in gathered.tolist() if step]
        if bad:
            step, loss = min(bad, key=lambda each: each[0])
            raise self._diverged(f"loss/total is {loss} at step {step}", "optimizer.lr")

    def check_weights(self, step: int, tokenizer: nn.Module, discriminator: nn.Module | None) -> None:
        """Raise DivergedError if a parameter or buffer is not finite after `step` steps; syncs."""
        networks = {"tokenizer": (tokenizer, "optimizer.lr"), "discriminator": (discriminator, "adversarial.lr")}
        for name, (network, lr) in networks.items():
            if network is not None and not is_finite(network):
                raise self._diverged(f"the weights of the {name} are not finite after step {step}", lr)

    def _diverged(self, what: str, lr: str) -> DivergedError:
        checkpoint, _ = good_checkpoint(self._checkpoints)
        kept = f"; the last good checkpoint is {checkpoint}" if checkpoint else ""
        return DivergedError(f"{what}: lower {lr}{kept}.")


def is_finite(network: nn.Module) -> bool:
    """Return whether all parameters and buffers are finite; syncs."""
    floating = [values for values in [*network.parameters(), *network.buffers()] if values.is_floating_point()]
    return math.isfinite(float(torch.stack([(values.detach() * 0).sum().float() for values in floating]).sum()))
