"""The optimizer of a fit: Adam, with Muon or lazy rows for parts of the codebook where the config asks for them."""

import re
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..optimizer.muon import Muon
from ..optimizer.routing import codebook_rows

BETAS = (0.9, 0.95)


def fit_optimizer(model: nn.Module, lr: float, muon: Collection[str], muon_rate: float, lazy_rows: bool) -> Optimizer:
    """Build the optimizer of all parameters of `model` that are trained; one of nothing when there are none.

    Muon takes the parameters whose names match one of the patterns `muon`, at `muon_rate` times lr. Raises ValueError when
    rows are to be lazy and no codebook has rows that are trained.
    """
    tables = codebook_rows(model) if lazy_rows else set()
    members: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        uses_muon = any(re.fullmatch(pattern, name) for pattern in muon)
        members.setdefault((uses_muon, parameter in tables), []).append(parameter)
    if lazy_rows and not any(lazy for _, lazy in members):
        raise ValueError(
            "fit.codebook_rows is lazy, but this quantizer has no codebook whose rows are trained: use dense, or a quantizer "
            "with a trained table, such as vq or ibq."
        )
    groups = [
        {"params": params, "use_muon": uses_muon, "lazy": lazy} for (uses_muon, lazy), params in sorted(members.items())
    ]
    return Muon(groups or [{"params": [torch.zeros(())], "use_muon": False}], lr=lr, betas=BETAS, rate=muon_rate)
