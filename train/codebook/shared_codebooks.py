"""The codebooks of a quantizer whose codes can be set one by one: what each sees on all processes, and revival."""

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Generator, Tensor
from torch.optim import Optimizer

from ...tokenizer.quantizers import Quantizer
from ...tokenizer.quantizers.layout import as_rows
from ...tokenizer.quantizers.vector.codebooks import Codebook
from ...tokenizer.shapes import Latent, Vectors


def codebook_of(quantizer: Quantizer) -> Codebook | None:
    """Return the table of codes of a quantizer with one codebook; none where a formula gives the codes."""
    return next((module for module in quantizer.modules() if isinstance(module, Codebook)), None)


def shared_codebooks(quantizer: Quantizer) -> dict[Codebook, list[int]]:
    """Return each table of codes with its indices along `q`, in order: several when levels or groups share it."""
    found: dict[Codebook, list[int]] = {}
    for level, single in enumerate(quantizer.codebooks()):
        if codebook := codebook_of(single):
            found.setdefault(codebook, []).append(level)
    return found


def can_set_codes(quantizer: Quantizer) -> bool:
    """Return whether the codes of all codebooks of a quantizer can be set one by one."""
    codebooks = [codebook_of(single) for single in quantizer.codebooks()]
    return all(codebook is not None and codebook.can_replace for codebook in codebooks)


def seen_vectors(quantizer: Quantizer, latents: list[Latent], levels: list[int], accelerator: Accelerator) -> Vectors:
    """Return what some levels see of latents, as they compare it, on all processes; every process must call it."""
    inputs, codebooks = [quantizer.codebook_inputs(latent) for latent in latents], quantizer.codebooks()
    seen = [as_rows(codebooks[level].to_code_space(each[level])) for level in levels for each in inputs]
    return torch.cat([accelerator.gather(rows) for rows in seen])


def broadcast_codes(codebook: Codebook) -> None:
    """Give every process the codes and statistics of the main one, in place; every process must call it."""
    for tensor in codebook.state_dict().values():
        tensor.copy_(broadcast(tensor, from_process=0))


@torch.no_grad()
def revive_codes(codebook: Codebook, dead: Tensor, vectors: Vectors, generator: Generator) -> None:
    """Set the codes with indices `dead` to as many different vectors, drawn at random; `generator` is on the CPU."""
    drawn = torch.randperm(len(vectors), generator=generator)[: len(dead)]
    codebook.replace(dead, vectors[drawn.to(vectors.device)].float())


@torch.no_grad()
def revive_where(codebook: Codebook, dead: Tensor, vectors: Vectors, generator: Generator) -> None:
    """Do what `revive_codes` does for the codes that are dead, booleans ` k`, at most as many as vectors; no device sync."""
    drawn = torch.randperm(len(vectors), generator=generator)
    if vectors.is_cuda:
        drawn = drawn.pin_memory().to(vectors.device, non_blocking=True)
    rank = dead.cumsum(dim=0) - 1
    codebook.replace_where(dead, vectors[drawn[rank.clamp(0, len(vectors) - 1)]].float())


def forget_rows(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> None:
    """Set the optimizer state of some rows of a parameter (moments, a counter of each row) to zero, in place.

    `rows` are indices, or booleans for all rows, with which there is no device sync.
    """
    for state in optimizer.state[parameter].values():
        if isinstance(state, Tensor) and state.shape[:1] == parameter.shape[:1]:
            if rows.dtype == torch.bool:
                state.masked_fill_(rows.view(-1, *[1] * (state.ndim - 1)), 0)
            else:
                state[rows] = 0
