"""Steps that are skipped: decided by the host where it knows the values, and on the device where asking would wait."""

import math
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer


class Decision(NamedTuple):
    """Whether a step is skipped."""

    is_skipped: bool
    """Whether the host knows that it is."""
    skip: Tensor | None
    """Where the host does not know, a boolean scalar on the device."""

    @property
    def may_skip(self) -> bool:
        """Whether anything has to be set back, here or on the device."""
        return self.is_skipped or self.skip is not None


TAKEN = Decision(False, None)
"""A step that is not skipped."""


def runs_ahead(device: torch.device) -> bool:
    """Return whether the host only queues work for a device, so that reading a value waits for it, and the device can skip.

    Apple's GPU also works behind the host, but has no fused AdamW that skips.
    """
    return device.type == "cuda"


def decided(skip: Tensor) -> Decision:
    """Return the decision that a boolean scalar holds: read on the CPU, which computes nothing ahead."""
    return Decision(False, skip) if runs_ahead(skip.device) else Decision(bool(skip), None)


def clipped_norm(accelerator: Accelerator, optimizer: Optimizer, max_norm: float | None) -> Tensor:
    """Scale gradients down to a max norm, if any, in place, and return the norm before; no device sync."""
    accelerator.unscale_gradients(optimizer)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return torch.nn.utils.clip_grad_norm_(parameters, math.inf if max_norm is None else max_norm)


def step_unless(optimizer: Any, skip: Tensor | None) -> None:
    """Let Muon, as accelerate wraps it, take a step that changes nothing where `skip` is true; no device sync.

    The gradients must be unscaled. torch would otherwise wait to see whether they overflowed float16.
    """
    optimizer.optimizer.skip = skip
    optimizer.optimizer._step_supports_amp_scaling = skip is not None
    optimizer.step()
