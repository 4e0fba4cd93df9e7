"""Fits a quantizer to latents alone. No image is decoded, so a fit takes seconds to minutes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim import Optimizer

from ...tokenizer.model import softened
from ...tokenizer.quantizers import set_training_step
from ...tokenizer.shapes import Vectors
from ..codebook.maintenance import CodebookConfig, CodebookMaintenance
from ..codebook.monitor import QuantizerIO
from .config import FitConfig
from .fit_optimizer import fit_optimizer
from .prepare import KeptFile
from .swap_quantizer import FittedQuantizer, as_latent

RECONSTRUCTION = "reconstruction"
"""Name of the loss that is the mean squared error to the targets."""
LAST_REVIVAL = 0.8
"""Fraction of the steps after which codes are no longer revived, so that the last revived codes settle."""


def fit_quantizer(
    model: FittedQuantizer,
    vectors: Vectors,
    targets: Vectors,
    weights: Mapping[str, float],
    config: FitConfig,
    codebook_config: CodebookConfig,
    accelerator: Accelerator,
    seed: int,
    on_step: Callable[[int], None] = lambda _: None,
    on_kmeans_round: Callable[[int], None] = lambda _: None,
    kept: KeptFile | None = None,
    save_every: int = 1,
) -> None:
    """Fit `model` to map each row of `vectors` to the same row of `targets`, and leave it frozen, on the CPU.

    The loss is the weighted sum of the quantizer's losses and, if it has a weight, of `reconstruction`. With `kept`, the
    state is saved every `save_every` steps, and a stopped fit resumes with the same result.
    """
    model.to(accelerator.device).train()
    maintenance = CodebookMaintenance(codebook_config, model.quantizer, accelerator, seed)
    optimizer, generator = fit_optimizer(model, config), torch.Generator().manual_seed(seed)
    fit = _Fit(model, vectors, targets, weights, config, maintenance, optimizer, generator, accelerator.device)
    steps = config.steps if any(parameter.requires_grad for parameter in model.parameters()) else 0
    start = 0
    if kept and (found := kept.load("The fit starts again.")):
        start = found["step"]
        fit.load_state_dict(found["states"])
    else:
        fit.initialize_codes(on_kmeans_round)
        if kept:
            kept.save(step=0, states=fit.state_dict())
    for step in range(start + 1, steps + 1):
        fit.train_step(step)
        on_step(step)
        if kept and step % save_every == 0:
            kept.save(step=step, states=fit.state_dict())
    model.cpu().eval().requires_grad_(False)


@dataclass
class _Fit:
    """A fit in progress, and the state that its next step depends on."""

    model: FittedQuantizer
    vectors: Vectors
    targets: Vectors
    weights: Mapping[str, float]
    config: FitConfig
    maintenance: CodebookMaintenance
    optimizer: Optimizer
    generator: torch.Generator
    device: torch.device

    @torch.no_grad()
    def initialize_codes(self, on_kmeans_round: Callable[[int], None]) -> None:
        order = torch.randperm(len(self.vectors), generator=self.generator)
        batches = (self.vectors[rows].to(self.device) for rows in order.split(self.config.batch_size))
        self.maintenance.initialize((self.model.into(as_latent(batch)) for batch in batches), on_kmeans_round)

    def train_step(self, step: int) -> None:
        config, model = self.config, self.model
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * (1 + math.cos(math.pi * (step - 1) / config.steps)) / 2
        rows = torch.randint(len(self.vectors), (config.batch_size,), generator=self.generator)
        set_training_step(model, step - 1)
        latent = model.into(as_latent(self.vectors[rows].to(self.device)))
        quantized, tokens, terms = model.quantizer(latent)
        if RECONSTRUCTION in self.weights:
            decoder_input = softened(model.quantizer, latent, quantized, self.maintenance.hardness(step))
            target = as_latent(self.targets[rows].to(self.device))
            terms = terms | {RECONSTRUCTION: (model.out(decoder_input) - target).square().mean()}
        loss = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if step <= LAST_REVIVAL * config.steps:
            self.maintenance.observe(step, QuantizerIO(latent.detach(), quantized.detach(), tokens), self.optimizer)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "codebook": [self.maintenance.state_dict(), self.maintenance.rank_state_dict()],
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, states: dict[str, Any]) -> None:
        self.model.load_state_dict(states["model"])
        self.optimizer.load_state_dict(states["optimizer"])
        self.generator.set_state(states["generator"])
        self.maintenance.load_state_dict(states["codebook"][0])
        self.maintenance.load_rank_state_dict(states["codebook"][1])
        torch.set_rng_state(states["random"])
        if len(states["random_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states["random_cuda"])
