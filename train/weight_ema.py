"""The EMA of the weights, which is validated and exported."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ..tokenizer.model import VisualTokenizer
from .optimizer.skipping import TAKEN, Decision


class WeightEMA:
    """A copy of the model whose trained parameters are an EMA; buffers are copied, and frozen parameters stay as they are.

    The decay of update n is min(decay, (1 + n) / (10 + n)), so that the initial weights are soon forgotten. No device sync.
    """

    def __init__(self, model: VisualTokenizer, decay: float):
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.updates = 0
        """Optimizer steps so far, skipped ones included."""
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, decision: Decision = TAKEN) -> None:
        """Take in the weights after one more step; at one that is skipped, the EMA does not change."""
        self.updates += 1
        if not decision.is_skipped:
            self._average(model, self.updates - 1, decision.skip)

    def _average(self, model: nn.Module, updates: int, skip: Tensor | None) -> None:
        pairs = zip(self.model.parameters(), model.parameters(), strict=True)
        # Frozen weights keep their bits: an average of -0.0 with itself is 0.0, which is another fingerprint.
        trained = [(mine.detach(), theirs.detach()) for mine, theirs in pairs if theirs.requires_grad]
        averaged, current = [mine for mine, _ in trained], [theirs for _, theirs in trained]
        decay = min(self._decay, (1 + updates) / (10 + updates)) if updates else 0.0
        if not trained:
            pass
        elif skip is None:
            torch._foreach_lerp_(averaged, current, 1 - decay)
        elif decay == 0:  # the weights, which a skipped step does not change
            torch._foreach_copy_(averaged, current)
        else:
            towards = torch._foreach_sub(current, averaged)
            torch._foreach_mul_(towards, torch.where(skip, 0.0, 1 - decay))
            torch._foreach_add_(averaged, towards)
        if copies := list(self.model.buffers()):
            torch._foreach_copy_(copies, list(model.buffers()))

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
