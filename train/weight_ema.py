"""The EMA of the weights, which is validated and exported."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from ..tokenizer.model import VisualTokenizer


class WeightEMA:
    """A copy of the model whose parameters are an EMA of the trained ones; buffers are copied.

    The decay of update n is min(decay, (1 + n) / (10 + n)), so that the initial weights are soon forgotten. No device sync.
    """

    def __init__(self, model: VisualTokenizer, decay: float):
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.updates = 0
        """Optimizer steps so far."""
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after one more step."""
        averaged = [parameter.detach() for parameter in self.model.parameters()]
        current = [parameter.detach() for parameter in model.parameters()]
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates)) if self.updates else 0.0
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for copied, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            copied.copy_(buffer)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
