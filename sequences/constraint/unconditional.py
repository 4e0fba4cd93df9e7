"""Unconditional logits of a model with a key-value cache, right when rows are reordered."""

from typing import Any

import torch
from torch import Tensor

from .cached import next_logits


class CachedUnconditional:
    """Logits of a transformers causal model after another prompt and the ids generated so far, for `Guidance`.

    `prompt` is `n`, for all rows, or `p n`, for p prompts each of which has the same number of rows (beams, returned
    sequences), as in `generate`. `prompt_length` is the length of the conditional prompt in `input_ids`, padding included.
    Which row of the cache belongs to which row of `input_ids` is found by comparing ids, so beams may swap, and the object may
    be used again; the host waits for this comparison once a step.
    """

    def __init__(self, model: Any, prompt: Tensor, prompt_length: int, attention_mask: Tensor | None = None):
        if prompt.ndim not in (1, 2) or prompt.numel() == 0:
            raise ValueError(
                f"The unconditional prompt has the shape {tuple(prompt.shape)}, but must be n or p n, with at least one id."
            )
        self.model, self.prompt, self.prompt_length = model, torch.atleast_2d(prompt), prompt_length
        self.mask = torch.ones_like(self.prompt) if attention_mask is None else torch.atleast_2d(attention_mask)
        self._seen: Tensor | None = None
        self._cache: Any = None

    @torch.no_grad()
    def __call__(self, input_ids: Tensor) -> Tensor:
        """Return logits `b v` for the id after `input_ids`, int64 `b n`."""
        ids, mask = self._with_prompt(input_ids)
        new = self._new_ids(ids)
        logits, self._cache = next_logits(self.model, ids[:, -new:], mask, self._cache)
        self._seen = ids
        return logits

    def _with_prompt(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unconditional prompt and what was generated, `b m`, and their attention mask."""
        repeats, odd = divmod(len(input_ids), len(self.prompt))
        if odd:
            raise ValueError(
                f"There are {len(input_ids)} rows for {len(self.prompt)} unconditional prompts, but each prompt must have as "
                "many rows: give one prompt, or one for each conditional prompt."
            )
        generated = input_ids[:, self.prompt_length :]
        prompt, mask = (part.to(input_ids.device).repeat_interleave(repeats, 0) for part in (self.prompt, self.mask))
        return torch.cat([prompt, generated], dim=1), torch.cat([mask, mask.new_ones(generated.shape)], dim=1)

    def _new_ids(self, ids: Tensor) -> int:
        """Return how many of the last ids the cache has not seen, after reordering it; all of them when it is of no use."""
        if self._seen is not None and self._seen.shape[1] == ids.shape[1] - 1:
            same = (ids[:, None, :-1] == self._seen).all(-1)
            found, rows = torch.stack([same.any(1).long(), same.long().argmax(1)]).tolist()
            if all(found):
                if rows != list(range(len(self._seen))):
                    self._cache.reorder_cache(torch.tensor(rows, device=ids.device))
                return 1
        self._cache = None
        return ids.shape[1]
