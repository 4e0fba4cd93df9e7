"""The codes of an image tokenizer as vectors, from which rows of a language model can be made."""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def code_vectors(tokenizer: Any) -> list[Tensor]:
    """Return the codes `k c` of each codebook of a `vistok.Tokenizer`, float32, on its device."""
    return [_codes(quantizer, tokenizer.device) for quantizer in tokenizer.model.quantizer.codebooks()]


def _codes(quantizer: Any, device: torch.device) -> Tensor:
    codes: Tensor = quantizer.lookup(torch.arange(quantizer.vocab_size, device=device)[None, None, None])
    return codes[0, :, 0].T
