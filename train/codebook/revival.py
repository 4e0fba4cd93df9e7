"""Revival of dead codes, and what an optimizer must forget of them."""

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from ...tokenizer.quantizers.vector.codebooks import Codebook
from ...tokenizer.shapes import Vectors


@torch.no_grad()
def revive_codes(codebook: Codebook, dead: Tensor, vectors: Vectors, generator: Generator) -> None:
    """Set the codes with indices `dead` to as many different vectors, drawn at random; `generator` is on the CPU."""
    drawn = torch.randperm(len(vectors), generator=generator)[: len(dead)]
    codebook.replace(dead, vectors[drawn.to(vectors.device)].float())


def forget_rows(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> None:
    """Set the optimizer state of some rows of a parameter (moments, a counter of each row) to zero, in place."""
    for state in optimizer.state[parameter].values():
        if isinstance(state, Tensor) and state.shape[:1] == parameter.shape[:1]:
            state[rows] = 0
