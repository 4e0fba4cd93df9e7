"""The optimizer of a fit: Adam, with Muon or lazy rows for parts of the codebook where the config asks for them."""

import re

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .muon import Muon
from .optimizer import codebook_rows
from .optimizer_rules import PROJECTION_MATRICES

BETAS = (0.9, 0.95)


def fit_optimizer(model: nn.Module, lr: float, muon_rate: float | None, lazy_rows: bool) -> Optimizer:
    """Build the optimizer of all parameters of `model` that are trained; one of nothing when there are none.

    Muon takes the matrices of a codebook's projection, at `muon_rate` times lr; None leaves them to Adam. Raises ValueError
    when rows are to be lazy and no codebook has rows that are trained.
    """
    tables = codebook_rows(model) if lazy_rows else set()
    members: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = re.fullmatch(rf"(.*\.)?{PROJECTION_MATRICES}", name) is not None
        members.setdefault((muon_rate is not None and is_matrix, parameter in tables), []).append(parameter)
    if lazy_rows and not any(lazy for _, lazy in members):
        raise ValueError(
            "fit.codebook_rows is lazy, but this quantizer has no codebook whose rows are trained: use dense, or a quantizer "
            "with a trained table, such as vq or ibq."
        )
    groups = [{"params": params, "use_muon": muon, "lazy": lazy} for (muon, lazy), params in sorted(members.items())]
    return Muon(groups or [{"params": [torch.zeros(())], "use_muon": False}], lr=lr, betas=BETAS, rate=muon_rate or 1.0)
