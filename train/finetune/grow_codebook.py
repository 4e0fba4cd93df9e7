"""More codes for a codebook that has learned: the old ones keep their numbers and places."""

import torch

from ...tokenizer.quantizers import Quantizer
from ...tokenizer.quantizers.search.nearest import nearest_codes
from ...tokenizer.quantizers.vector.quantizer import VectorQuantizer
from ...tokenizer.shapes import Vectors
from .fit_quantizer import as_latent


@torch.no_grad()
def grown_quantizer(quantizer: Quantizer, old: Quantizer, vectors: Vectors, seed: int) -> None:
    """Set the first codes of `quantizer` to those of `old`, and the others to latents far from all of those.

    The new codes are drawn with a chance in proportion to the squared distance to the nearest old code (as k-means++ draws
    them). Raises ValueError when there are fewer latents than new codes.
    """
    assert isinstance(quantizer, VectorQuantizer) and isinstance(old, VectorQuantizer)
    codes = old.codes()
    points = old.to_code_space(as_latent(vectors))[0, :, 0].T
    wanted = quantizer.vocab_size - len(codes)
    if len(points) < wanted:
        raise ValueError(f"The images give {len(points):,} latents for {wanted:,} new codes: give more images.")
    distances = (points - codes[nearest_codes(points, codes, old.config.similarity)]).square().sum(dim=1)
    generator = torch.Generator().manual_seed(seed)
    # A draw without replacement in proportion to w takes the greatest of log(u) / w (Efraimidis and Spirakis 2006).
    chances = torch.rand(len(points), generator=generator, dtype=torch.float64).log() / (distances.double() + 1e-12)
    chosen = points[chances.topk(wanted).indices]
    quantizer.codebook.replace(torch.arange(quantizer.vocab_size), torch.cat([codes, chosen]))
