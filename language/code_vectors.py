"""The codes of an image tokenizer as vectors, from which rows of a language model can be made."""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def code_vectors(tokenizer: Any) -> list[Tensor]:
    """Return the codes `k c` of each codebook of a `vistok.Tokenizer`, float32, on its device."""
    codebooks = tokenizer.model.quantizer.codebooks()
    return [codebook.code_rows(torch.arange(codebook.vocab_size, device=tokenizer.device)) for codebook in codebooks]
