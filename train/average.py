"""The moving average of the weights, which is what is validated and exported."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from ..tokenizer.model import VisualTokenizer


class WeightAverage:
    """A copy of the model whose parameters follow the trained ones as a moving average; buffers are copied.

    The first steps are forgotten sooner than `decay` says, or the random start would weigh on the average for
    1 / (1 - decay) steps. The device is not waited for.
    """

    def __init__(self, model: VisualTokenizer, decay: float):
        self.module = deepcopy(model).requires_grad_(False)
        self.updates = 0
        """Steps that have gone in."""
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the weights after one more step."""
        averaged = [parameter.detach() for parameter in self.module.parameters()]
        current = [parameter.detach() for parameter in model.parameters()]
        warm = min(self._decay, (1 + self.updates) / (10 + self.updates)) if self.updates else 0.0
        torch._foreach_lerp_(averaged, current, 1 - warm)
        for copied, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
            copied.copy_(buffer)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.module.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["model"])
        self.updates = state["updates"]
