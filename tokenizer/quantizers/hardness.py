"""Annealed hardness: what the decoder sees while a run goes from latents to codes."""

from ..shapes import Latent
from .base import Quantizer


def hardness_at(step: int, harden_steps: int) -> float:
    """Return the weight a of the code at a training step (from 1): 0 at the first, exactly 1 after `harden_steps` of them."""
    return 1.0 if step > harden_steps else (step - 1) / harden_steps


def softened(quantizer: Quantizer, latent: Latent, quantized: Latent, hardness: float) -> Latent:
    """Return (1 - a) z + a q: z the latent as `quantizer` compares it, q what it made of it, a = `hardness` in [0, 1].

    The gradient is that of both parts: (1 - a) times that of z itself, plus a times what the gradient estimator of q gives.
    With a = 1 the result is q, bit for bit (progressive quantization, arXiv 2603.22304).
    """
    return quantized if hardness == 1 else quantizer.to_code_space(latent).lerp(quantized, hardness)
