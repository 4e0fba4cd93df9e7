"""A quantizer fitted to latents alone: no picture is decoded, so it takes seconds to minutes."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from accelerate import Accelerator
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from ..tokenizer.config import Config
from ..tokenizer.quantizers import Quantized, Quantizer
from ..tokenizer.shapes import Latent, Vectors
from .codebook_care import CodebookCare, CodebookCareConfig
from .monitor import Seen

RECONSTRUCTION = "reconstruction"
LAST_REVIVAL = 0.8
"""Share of the steps after which codes are no longer revived, so that the last of them settle."""


class FitConfig(Config):
    """How a quantizer is fitted."""

    steps: Annotated[int, Field(ge=0)] = 600
    """Steps of Adam, the rate falling to 0 along half a cosine."""
    batch_size: Annotated[int, Field(ge=1)] = 8192
    """Latent vectors of a step."""
    lr: Annotated[float, Field(gt=0)] = 5e-3
    """Learning rate at the start."""


class FittedQuantizer(nn.Module):
    """A quantizer between two linear maps of the channels, by which it fits latents of another dimension."""

    def __init__(self, into: nn.Module, quantizer: Quantizer, out: nn.Module):
        super().__init__()
        self.into = into
        self.quantizer = quantizer
        self.out = out

    def forward(self, latent: Latent) -> Quantized:
        quantized, tokens, losses = self.quantizer(self.into(latent))
        return Quantized(self.out(quantized), tokens, losses)


def as_latent(vectors: Vectors) -> Latent:
    """Return vectors `n d` as one latent `1 d 1 n`."""
    return rearrange(vectors, "n d -> 1 d 1 n")


def fit_quantizer(
    model: FittedQuantizer,
    vectors: Vectors,
    targets: Vectors,
    weights: Mapping[str, float],
    config: FitConfig,
    care_config: CodebookCareConfig,
    accelerator: Accelerator,
    seed: int,
    report: Callable[[int], None] | None = None,
) -> None:
    """Fit `model` so that it takes `vectors` to `targets` (rows of one picture's latents), and leave it frozen.

    The weighted loss is that of the quantizer's terms and, where it has a weight, `reconstruction`, the mean squared
    difference to the targets. Raises ValueError when a term has no weight.
    """
    device = accelerator.device
    model.to(device).train()
    generator = torch.Generator().manual_seed(seed)
    care = CodebookCare(care_config, model.quantizer, accelerator, seed)
    with torch.no_grad():
        order = torch.randperm(len(vectors), generator=generator)
        care.initialise(model.into(as_latent(vectors[rows].to(device))) for rows in order.split(config.batch_size))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters or [torch.zeros(())], lr=config.lr, betas=(0.9, 0.95))
    for step in range(1, config.steps + 1 if parameters else 1):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 + math.cos(math.pi * (step - 1) / config.steps)) / 2
        rows = torch.randint(len(vectors), (config.batch_size,), generator=generator)
        latent = model.into(as_latent(vectors[rows].to(device)))
        quantized, tokens, losses = model.quantizer(latent)
        loss = _weighed(losses, model.out(quantized), as_latent(targets[rows].to(device)), weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step <= LAST_REVIVAL * config.steps:
            care.observe(step, Seen(latent.detach(), quantized.detach(), tokens), optimizer)
        if report:
            report(step)
    model.cpu().eval().requires_grad_(False)


def _weighed(losses: dict[str, Tensor], answer: Latent, target: Latent, weights: Mapping[str, float]) -> Tensor:
    terms = dict(losses)
    if RECONSTRUCTION in weights:
        terms[RECONSTRUCTION] = (answer - target).square().mean()
    missing = sorted(set(terms) - set(weights))
    if missing:
        raise ValueError(f"The fit has no weight for the loss {missing[0]}: give one (0 leaves it out).")
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
