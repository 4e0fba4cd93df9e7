"""Causal models of transformers, called step by step with a key-value cache. transformers itself is not imported."""

import inspect
from typing import Any

import torch
from torch import Tensor


def next_logits(model: Any, ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
    """Return logits `b v` after new ids `b n`, and the cache with them; `mask`, `b m`, is that of all ids so far."""
    accepted = inspect.signature(model.forward).parameters
    name = "cache" if "cache" in accepted else "past_key_values"  # renamed in transformers 5
    arguments = {"attention_mask": mask, "use_cache": True, name: cache}
    if "position_ids" in accepted:
        arguments["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    output = model(ids, **arguments)
    return output.logits[:, -1], output[name]


class CachedModel:
    """A causal model of transformers for `generate_images`. Prompts may begin with padding, of the id `pad`."""

    def __init__(self, model: Any, pad: int | None = None):
        self.model = model
        self.pad = pad

    def __call__(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return logits `b v` after new ids `b n`, and the state with them; the state is None at first."""
        new = torch.ones_like(ids)
        if state is None and self.pad is not None:
            new = ((ids != self.pad).cumsum(1) > 0).long()
        cache, mask = (None, new) if state is None else (state[0], torch.cat([state[1], new], dim=1))
        logits, cache = next_logits(self.model, ids, mask, cache)
        return logits, (cache, mask)
