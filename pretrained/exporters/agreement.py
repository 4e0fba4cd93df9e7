"""How well exported files agree with the tokenizer that they were made of."""

from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange

from ...images.preprocessing import to_pixels
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.numerics.exact import run_exactly
from .base import Program

CPU = torch.device("cpu")


class Agreement(NamedTuple):
    """The result of a comparison in float32 on the CPU."""

    tokens: int
    same: int
    pixel_difference: float | None
    """Max difference of decoded pixels, of [0, 1]; None without a decoder."""

    @property
    def fraction(self) -> float:
        """Fraction of tokens that are the same."""
        return self.same / self.tokens


@torch.no_grad()
def agreement(
    model: VisualTokenizer, program: Program, images: list[np.ndarray], pixel_range: tuple[float, float]
) -> Agreement:
    """Encode images with both, and decode the model's tokens with both."""
    black, white = pixel_range
    count = same = 0
    differences = []
    for image in images:
        batch = torch.from_numpy(image).unsqueeze(0)
        (expected,) = run_exactly(lambda pixels: (model.encode(pixels),), to_pixels(batch), CPU, 1)
        given = rearrange(batch, "b h w c -> b c h w").float() / 255 * (white - black) + black
        tokens = program.encode(given)
        assert tokens.shape == expected.shape
        count, same = count + expected.numel(), same + int((tokens == expected).sum())
        if program.decode is not None:
            (pixels,) = run_exactly(lambda tokens: (model.decode(tokens),), expected, CPU, 1)
            decoded = (program.decode(expected) - black) / (white - black)
            differences.append((decoded.clamp(0, 1) - (pixels + 1) / 2).abs().max().item())
    return Agreement(count, same, max(differences, default=None))
