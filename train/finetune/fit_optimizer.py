"""The optimizer of a fit: Adam, or Muon for the matrices of projections, and which of their parameters each takes."""

import re

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..optimizer.muon import Muon
from ..optimizer.routing import codebook_rows
from .config import FitConfig

BETAS = (0.9, 0.95)
PROJECTION_MATRICES = r"(.*\.)?codebook\.projection\.(linear|\d+)\.weight"
"""The matrices that map the basis of simvq to its codes."""
BRIDGE_MATRICES = r"(.*\.)?codebook\.projection\.(compress|recover|process\.\d+\.(attention|inner)_(in|out))\.weight"
"""The matrices of fvq's bridge, a small transformer over the codes."""
MUON_PATTERNS = {"auto": [BRIDGE_MATRICES], "adam": [], "muon": [BRIDGE_MATRICES, PROJECTION_MATRICES]}
"""Names of the parameters that Muon takes, by `projection_optimizer`."""


def fit_optimizer(model: nn.Module, config: FitConfig) -> Optimizer:
    """Build the optimizer of all trainable parameters of `model`; without any, it holds a dummy.

    Raises ValueError if codebook_rows is lazy and no codebook has trainable rows.
    """
    rows = codebook_rows(model) if config.codebook_rows == "lazy" else set()
    members: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            use_muon = any(re.fullmatch(pattern, name) for pattern in MUON_PATTERNS[config.projection_optimizer])
            members.setdefault((use_muon, parameter in rows), []).append(parameter)
    if config.codebook_rows == "lazy" and not any(lazy for _, lazy in members):
        raise ValueError(
            "fit.codebook_rows is lazy, but this quantizer has no codebook whose rows are trained: use dense, or a quantizer "
            "with a trained table, such as vq or ibq."
        )
    groups = [{"params": params, "use_muon": muon, "lazy": lazy} for (muon, lazy), params in sorted(members.items())]
    dummy = {"params": [torch.zeros(())], "use_muon": False}
    return Muon(groups or [dummy], lr=config.lr, betas=BETAS, rate=config.muon_rate)
