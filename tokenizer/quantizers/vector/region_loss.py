"""Region update: unused codes follow the latents of the used code nearest them (StableVQ)."""

import torch
from torch import Tensor, distributed

from ...shapes import CodeIndices, Codes, Vectors
from ..search.nearest import nearest_codes


def region_loss(vectors: Vectors, codes: Codes, numbers: CodeIndices) -> Tensor:
    """Return mean |z - e|^2, e being the unused code nearest to the code of z; 0 if all are used, on any rank.

    Every used code hands its latents on to one unused neighbour, which they pull towards them.
    """
    is_used = torch.zeros(len(codes), dtype=torch.int32, device=codes.device)
    is_used[numbers] = 1
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(is_used, op=distributed.ReduceOp.MAX)
    unused = (is_used == 0).nonzero().flatten()
    if len(unused) == 0:
        return codes.sum() * 0
    used = is_used.nonzero().flatten()
    neighbour = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
    neighbour[used] = unused[nearest_codes(codes[used], codes[unused])]
    return (vectors - codes[neighbour[numbers]]).square().mean()
