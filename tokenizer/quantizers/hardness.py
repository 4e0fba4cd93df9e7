"""Annealed hardness: early in a run the decoder sees a blend of latents and codes (arXiv 2603.22304)."""

from ..shapes import Latent
from .base import Quantizer


def hardness_at(step: int, harden_steps: int) -> float:
    """Return the weight of the code at a training step (from 1): 0 at the first, exactly 1 after `harden_steps` steps."""
    return 1.0 if step > harden_steps else (step - 1) / harden_steps


def softened(quantizer: Quantizer, latent: Latent, quantized: Latent, hardness: float) -> Latent:
    """Return (1 - a) z + a q: z the latent as `quantizer` compares it, q its code, a = `hardness` in [0, 1].

    So is the gradient: (1 - a) times that of z itself, plus a times that of the estimator. With a = 1 the result is q, bit
    for bit.
    """
    return quantized if hardness == 1 else quantizer.to_code_space(latent).lerp(quantized, hardness)
