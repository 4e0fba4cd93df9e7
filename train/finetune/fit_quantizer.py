"""A quantizer fitted to latents alone: no image is decoded, so it takes seconds to minutes."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from accelerate import Accelerator
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from ...tokenizer.config import Config
from ...tokenizer.quantizers import Quantized, Quantizer, set_training_step
from ...tokenizer.quantizers.hardness import softened
from ...tokenizer.shapes import Latent, Vectors
from ..codebook.maintenance import CodebookConfig, CodebookMaintenance
from ..codebook.monitor import Seen
from ..optimizer.rules import BRIDGE_MATRICES, PROJECTION_MATRICES
from .fit_optimizer import fit_optimizer
from .fit_states import FitStates

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
    projection: Literal["adam", "muon"] = "adam"
    """What moves the matrices between the basis and the codes of simvq."""
    bridge: Literal["adam", "muon"] = "muon"
    """What moves the matrices of fvq's bridge; with Adam the fit diverges at the usual rate."""
    muon_rate: Annotated[float, Field(gt=0)] = 1.0
    """Muon's rate as a multiple of Adam's; at 1 its updates are as large as Adam's on gradients that are noise."""
    codebook_rows: Literal["dense", "lazy"] = "dense"
    """Whether Adam steps every row of a codebook at every step, or, lazy, only the rows that got a gradient."""


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


class _Fit:
    """A fit under way: what its next step depends on."""

    def __init__(
        self,
        model: FittedQuantizer,
        vectors: Vectors,
        targets: Vectors,
        weights: Mapping[str, float],
        config: FitConfig,
        care: CodebookMaintenance,
        device: torch.device,
        seed: int,
    ):
        self.model, self.vectors, self.targets, self.weights = model, vectors, targets, weights
        self.config, self.care, self.device = config, care, device
        self.generator = torch.Generator().manual_seed(seed)
        matrices = {PROJECTION_MATRICES: config.projection, BRIDGE_MATRICES: config.bridge}
        muon = [pattern for pattern, mover in matrices.items() if mover == "muon"]
        self.optimizer = fit_optimizer(model, config.lr, muon, config.muon_rate, config.codebook_rows == "lazy")
        self.steps = config.steps if any(parameter.requires_grad for parameter in model.parameters()) else 0

    @torch.no_grad()
    def initialise(self, report: Callable[[int], None]) -> None:
        """Set the codes as the care asks for; `report` is told the rounds of k-means."""
        order = torch.randperm(len(self.vectors), generator=self.generator)
        batches = (self.vectors[rows].to(self.device) for rows in order.split(self.config.batch_size))
        self.care.initialize((self.model.into(as_latent(batch)) for batch in batches), report)

    def take(self, step: int) -> None:
        """Take step 1 to `steps`."""
        config, model = self.config, self.model
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * (1 + math.cos(math.pi * (step - 1) / config.steps)) / 2
        rows = torch.randint(len(self.vectors), (config.batch_size,), generator=self.generator)
        set_training_step(model, step - 1)
        latent = model.into(as_latent(self.vectors[rows].to(self.device)))
        quantized, tokens, losses = model.quantizer(latent)
        target = as_latent(self.targets[rows].to(self.device))
        seen = softened(model.quantizer, latent, quantized, self.care.hardness(step))
        loss = _weighed(losses, model.out(seen), target, self.weights)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if step <= LAST_REVIVAL * config.steps:
            self.care.observe(step, Seen(latent.detach(), quantized.detach(), tokens), self.optimizer)

    def states(self) -> dict[str, Any]:
        """Return all that changes from step to step."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "care": [self.care.state_dict(), self.care.rank_state_dict()],
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def go_on_from(self, states: dict[str, Any]) -> None:
        """Take up what `states` returned."""
        self.model.load_state_dict(states["model"])
        self.optimizer.load_state_dict(states["optimizer"])
        self.generator.set_state(states["generator"])
        self.care.load_state_dict(states["care"][0])
        self.care.load_rank_state_dict(states["care"][1])
        torch.set_rng_state(states["random"])
        if len(states["random_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states["random_cuda"])


def fit_quantizer(
    model: FittedQuantizer,
    vectors: Vectors,
    targets: Vectors,
    weights: Mapping[str, float],
    config: FitConfig,
    care_config: CodebookConfig,
    accelerator: Accelerator,
    seed: int,
    report: Callable[[int], None] | None = None,
    kept: FitStates | None = None,
    rounds: Callable[[int], None] = lambda _: None,
) -> None:
    """Fit `model` so that it takes `vectors` to `targets` (rows of one image's latents), and leave it frozen.

    The weighted loss is that of the quantizer's terms and, where it has a weight, `reconstruction`, the mean squared
    difference to the targets. With `kept` the fit goes on from the states there, and ends with the same values as without.
    `report` is told the steps, and `rounds` those of k-means before. Raises ValueError when a term has no weight.
    """
    model.to(accelerator.device).train()
    care = CodebookMaintenance(care_config, model.quantizer, accelerator, seed)
    fit = _Fit(model, vectors, targets, weights, config, care, accelerator.device, seed)
    start = 0
    if kept and (found := kept.load()):
        start, states = found
        fit.go_on_from(states)
    else:
        fit.initialise(rounds)
        if kept:
            kept.save(0, fit.states())
    for step in range(start + 1, fit.steps + 1):
        fit.take(step)
        if report:
            report(step)
        if kept and step % kept.every == 0:
            kept.save(step, fit.states())
    model.cpu().eval().requires_grad_(False)


def _weighed(losses: dict[str, Tensor], answer: Latent, target: Latent, weights: Mapping[str, float]) -> Tensor:
    terms = dict(losses)
    if RECONSTRUCTION in weights:
        terms[RECONSTRUCTION] = (answer - target).square().mean()
    missing = sorted(set(terms) - set(weights))
    if missing:
        raise ValueError(f"The fit has no weight for the loss {missing[0]}: give one (0 leaves it out).")
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
