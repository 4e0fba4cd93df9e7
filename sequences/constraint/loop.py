"""A plain loop that paints images with any autoregressive model."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..layouts import Layout
from ..layouts.slots import check_grid
from .draw import draw, filter_logits
from .guidance import check_scale, guided

Model = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""New ids `b n` and its own state (None at first) -> logits `b v` of the next id, and the state after these ids."""


@torch.no_grad()
def generate_images(
    model: Model,
    layout: Layout,
    grid: tuple[int, int],
    prompts: Tensor,
    *,
    guidance: float = 1.0,
    unconditional: Tensor | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return tokens `b q y x`, one image after each of the prompts, int64 `b n` on the model's device.

    The image is written whole: everything that the layout fixes is written by the loop and given to the model together with the
    id before, so the model is called once for each code. With `guidance` other than 1, the model sees 2b rows: the prompts,
    then `unconditional`, `n` or `b n`. `generator` is on the device of the logits.
    """
    check_scale(guidance)
    grid = check_grid(tuple(grid))
    slots = layout.slots(grid)
    first, size = slots.first.tolist(), slots.size.tolist()
    prompts = _all_prompts(prompts, guidance, unconditional)
    pairs = 1 if guidance == 1 else 2
    ids = slots.first.to(prompts.device).repeat(len(prompts) // pairs, 1)
    seen, state, new = 0, None, prompts
    for position in (position for position, choices in enumerate(size) if choices > 1):
        new = torch.cat([new, ids[:, seen:position].repeat(pairs, 1)], dim=1)
        logits, state = model(new, state)
        if logits.ndim != 2 or logits.shape[1] < first[position] + size[position]:
            raise ValueError(
                f"The model returned logits of the shape {tuple(logits.shape)}, but they must be b v, with v of at least "
                f"{first[position] + size[position]}."
            )
        window = logits[:, first[position] : first[position] + size[position]]
        if guidance != 1:
            conditional, unconditional_window = window.chunk(2)
            window = guided(conditional, unconditional_window, guidance)
        ids[:, position] = first[position] + draw(filter_logits(window, temperature, top_k, top_p), generator)
        seen, new = position, prompts[:, :0]
    return layout.tokens(ids, grid)


def _all_prompts(prompts: Tensor, guidance: float, unconditional: Tensor | None) -> Tensor:
    if prompts.ndim != 2 or prompts.shape[1] == 0:
        raise ValueError(
            f"prompts have the shape {tuple(prompts.shape)}, but must be b n, with at least one id for the model to begin with."
        )
    if guidance == 1 and unconditional is None:
        return prompts
    if guidance == 1 or unconditional is None:
        raise ValueError(
            f"guidance is {guidance}, with{'out' if unconditional is None else ''} unconditional prompts, but 1 takes none and "
            "every other scale needs them."
        )
    rows, length = prompts.shape
    if tuple(unconditional.shape) not in ((length,), (1, length), (rows, length)):
        raise ValueError(
            f"unconditional prompts have the shape {tuple(unconditional.shape)} and prompts {(rows, length)}, but there must "
            "be one, or one for each, of the same length: pad the shorter ones on the left."
        )
    return torch.cat([prompts, unconditional.to(prompts.device).expand_as(prompts)])
