"""How large the codes of a quantizer are."""

import torch

from ..quantizers import Quantizer

SIDE = 16
"""Of the latent grid whose tokens are drawn."""


@torch.no_grad()
def code_size(quantizer: Quantizer) -> float:
    """Return the root of the mean square of the codes of random tokens, always the same ones; 1 where all are zero.

    Codebooks differ a thousandfold in size, and a network learns from numbers near 1.
    """
    device = next((value.device for value in quantizer.state_dict().values()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    shape = (1, quantizer.num_codebooks, *quantizer.token_grid(SIDE, SIDE))
    tokens = torch.randint(quantizer.vocab_size, shape, generator=generator).to(device)
    return float(quantizer.lookup(tokens).square().mean().sqrt()) or 1.0
