"""Region loss: unused codes follow the latents of the used code nearest to them (StableVQ)."""

import torch
from torch import Tensor, distributed

from ...devices import is_distributed
from ...shapes import CodeIndices, Codes, Vectors
from ..search.nearest import nearest_codes


def region_loss(vectors: Vectors, codes: Codes, indices: CodeIndices) -> Tensor:
    """Return mean |z - e|^2, a scalar, with e the unused code nearest to the code of z; 0 if all codes are used.

    The latents of a used code so pull one unused code towards them. A code that any rank uses is used. It waits for the
    device, since the number of used codes decides the sizes.
    """
    is_used = torch.zeros(len(codes), dtype=torch.int32, device=codes.device)
    is_used[indices] = 1
    if is_distributed():
        distributed.all_reduce(is_used, op=distributed.ReduceOp.MAX)
    unused = (is_used == 0).nonzero().flatten()
    if len(unused) == 0:
        return codes.sum() * 0
    used = is_used.nonzero().flatten()
    neighbour = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
    neighbour[used] = unused[nearest_codes(codes[used], codes[unused], exact=False)]
    return (vectors - codes[neighbour[indices]]).square().mean()
