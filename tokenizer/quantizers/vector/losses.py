"""The losses of a vector quantizer, each a mean over latents and channels."""

import torch
from torch import Tensor

from ...devices import over_ranks
from ...shapes import CodeIndices, Codes, Vectors
from ..entropy import assignment_entropies
from ..rotations import length_weight
from ..search.nearest import nearest_codes, scores
from .config import VectorConfig
from .distribution_losses import DISTRIBUTIONS


def loss_names(config: VectorConfig, learns_from_loss: bool) -> tuple[str, ...]:
    """Return the names of the losses; `learns_from_loss` says whether the codebook moves by gradients."""
    wanted = {
        "commitment": True,
        "codebook": learns_from_loss,
        "assignment": config.gradient == "soft",
        "region": config.region,
        str(config.distribution): config.distribution is not None,
        "sample_entropy": config.entropy_temperature is not None,
        "codebook_entropy": config.entropy_temperature is not None,
    }
    return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def vector_losses(
    config: VectorConfig,
    learns_from_loss: bool,
    vectors: Vectors,
    codes: Codes,
    indices: CodeIndices,
    quantized: Vectors,
) -> dict[str, Tensor]:
    """Return the losses of vectors with the codes at `indices`, under `loss_names`; all are 0 where there are no vectors.

    `quantized` is what the gradient estimator returned.
    """
    if not len(vectors):
        one, first = vectors.new_zeros(1, config.dim), indices.new_zeros(1)
        losses = vector_losses(config, learns_from_loss, one, codes, first, codes[first])
        return {name: loss * 0 for name, loss in losses.items()}
    chosen = codes[indices]
    squared = (vectors - chosen.detach()).square()
    if config.commitment_by_length:
        squared = squared / length_weight(vectors, chosen)
    losses = {"commitment": squared.mean()}
    if learns_from_loss:
        losses["codebook"] = (vectors.detach() - chosen).square().mean()
    if config.gradient == "soft":
        losses["assignment"] = (vectors - quantized).square().mean()
    if config.region:
        losses["region"] = region_loss(vectors.detach(), codes, indices)
    if config.distribution is not None:
        losses[config.distribution] = DISTRIBUTIONS[config.distribution](vectors, codes)
    if config.entropy_temperature is not None:
        temperature = config.entropy_temperature
        losses |= assignment_entropies(vectors, codes, lambda z, c: scores(z, c, config.similarity), temperature)
    return losses


def region_loss(vectors: Vectors, codes: Codes, indices: CodeIndices) -> Tensor:
    """Return mean |z - e|^2, a scalar, with e the unused code nearest to the code of z; 0 if all codes are used (StableVQ).

    The latents of a used code so pull one unused code towards them. A code that any rank uses is used.
    """
    is_used = torch.zeros(len(codes), dtype=torch.int32, device=codes.device).index_fill_(0, indices, 1)
    is_used = over_ranks(is_used, "MAX").bool()
    # One search over rows or over codes, whichever are fewer: the number of used codes is not known without a device sync.
    if len(indices) < len(codes):
        neighbours = nearest_codes(codes[indices], codes, exact=False, excluded=is_used)
    else:
        neighbours = nearest_codes(codes, codes, exact=False, excluded=is_used)[indices]
    return (vectors - codes[neighbours]).square().mean() * ~is_used.all()
