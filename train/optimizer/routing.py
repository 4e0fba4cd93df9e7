"""Who gets Muon: rules over parameter names, each parameter claimed by exactly one."""

import re
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Len
from pydantic import Field, model_validator
from torch import nn

from ...tokenizer.config import Config
from ...tokenizer.quantizers.vector.codebooks import Codebook
from .adam import SecondMoment
from .lr_scaling.config import LrScalingConfig
from .muon import Muon
from .rules import DEFAULT_RULES, RuleConfig


class OptimizerConfig(Config):
    """How the weights are moved."""

    name: Literal["muon", "adamw"] = "muon"
    """Muon for hidden convolutions with AdamW for the rest, or AdamW for all."""
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate, of AdamW and, times `muon_rate`, of Muon."""
    scale_lr: LrScalingConfig | None = None
    """How the rate follows the batch size; none takes `lr` as it is."""
    scaling: Literal["match_rms_adamw", "original", "rms_to_rms"] = "match_rms_adamw"
    """Size of Muon's updates: as AdamW's with these betas, so that one rate serves both; or Keller Jordan's or muP's."""
    muon_rate: Annotated[float, Field(gt=0)] = 1.0
    """Muon's rate as a multiple of AdamW's, which the weight decay does not follow; about 10 for original and rms_to_rms."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """Decay of AdamW's averages."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of AdamW's second moment; gradients well below it take steps in proportion to them, as with SGD."""
    second_moment: SecondMoment = "raw"
    """What AdamW's second moment averages: the squared gradient, or its squared distance from the mean (AdaBelief)."""
    codebook_rows: Literal["dense", "lazy"] = "dense"
    """Whether AdamW steps every row of a codebook at every step, or, lazy, only the rows that got a gradient."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of Muon's momentum, Nesterov's form."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay."""
    warmup: Annotated[int, Field(ge=0)] = 100
    """Steps over which the rate rises from 0."""
    final_lr_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the peak rate at the end of the cosine."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Greatest norm of the gradient; a greater one is scaled down."""
    rules: Annotated[list[RuleConfig], Len(1)] | None = None
    """Who gets Muon, each parameter matched by exactly one rule; none takes the built-in rules."""

    @model_validator(mode="after")
    def _has_a_mean(self) -> "OptimizerConfig":
        if self.second_moment == "centred" and self.betas[0] == 0:
            raise ValueError(
                "second_moment is centred, which takes the distance from the momentum, but betas[0] is 0, so that there is "
                "none: use raw, or betas[0] above 0."
            )
        return self

    def at_batch_size(self, batch_size: int) -> "OptimizerConfig":
        """Return this config with the rates for a batch of `batch_size` images over all processes, each by its own law."""
        if self.scale_lr is None:
            return self
        adamw = self.scale_lr.adamw_factor(batch_size, self.betas[0], self.eps, self.second_moment)
        muon = self.scale_lr.muon_factor(batch_size, self.momentum)
        return self.model_copy(
            update={"lr": self.lr * adamw, "muon_rate": self.muon_rate * muon / adamw, "scale_lr": None}
        )


class Claim(NamedTuple):
    """A parameter and the rule that claims it."""

    name: str
    parameter: nn.Parameter
    rule: RuleConfig
    is_lazy: bool = False
    """Whether AdamW steps only the rows that got a gradient."""


def claim_parameters(model: nn.Module, config: OptimizerConfig) -> list[Claim]:
    """Match every trainable parameter with its rule.

    Raises ValueError when a parameter is claimed by no rule or by two, when Muon gets one that is no matrix, when a rule of
    the config claims none (one that claims only frozen parameters is not at fault), or when rows are to be lazy and there
    are none.
    """
    rules = config.rules or DEFAULT_RULES
    rows = codebook_rows(model)
    claims = []
    claiming: set[str] = set()
    for name, parameter in model.named_parameters():
        matching = [rule for rule in rules if re.fullmatch(rule.pattern, name)]
        claiming.update(rule.pattern for rule in matching)
        if not parameter.requires_grad:
            continue
        if len(matching) != 1:
            patterns = " and ".join(repr(rule.pattern) for rule in matching) or "none"
            raise ValueError(
                f"Parameter {name} must be claimed by exactly one of optimizer.rules, but {patterns} claim it: change "
                "the patterns."
            )
        if _uses_muon(matching[0], config) and parameter.ndim < 2:
            raise ValueError(
                f"Parameter {name} of shape {tuple(parameter.shape)} is given to Muon by {matching[0].pattern!r}, but Muon "
                "takes matrices and kernels: use adamw for it."
            )
        is_lazy = config.codebook_rows == "lazy" and parameter in rows and not _uses_muon(matching[0], config)
        claims.append(Claim(name, parameter, matching[0], is_lazy))
    idle = [rule.pattern for rule in config.rules or [] if rule.pattern not in claiming]
    if idle:
        raise ValueError(f"optimizer.rules has {idle[0]!r}, which claims no parameter: correct or remove it.")
    if config.codebook_rows == "lazy" and not any(claim.is_lazy for claim in claims):
        raise ValueError(
            "optimizer.codebook_rows is lazy, but AdamW trains no codebook by its rows here: use dense, or a quantizer with "
            "a trained table, such as vq or ibq."
        )
    return claims


def codebook_rows(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that have a row for each code of a codebook."""
    codebooks = (module for module in model.modules() if isinstance(module, Codebook))
    return {parameter for codebook in codebooks for parameter in codebook.row_parameters()}


def build_optimizer(claims: list[Claim], config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build one optimizer whose groups follow the rules."""
    members: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for claim in claims:
        kind = _uses_muon(claim.rule, config), claim.rule.decay, claim.is_lazy
        members.setdefault(kind, []).append(claim.parameter)
    groups = [
        {
            "params": members[use_muon, decays, lazy],
            "use_muon": use_muon,
            "weight_decay": config.weight_decay if decays else 0.0,
            "lazy": lazy,
        }
        for use_muon, decays, lazy in sorted(members, reverse=True)
    ]
    return Muon(
        groups,
        lr=config.lr,
        betas=config.betas,
        momentum=config.momentum,
        eps=config.eps,
        scaling=config.scaling,
        rate=config.muon_rate,
        second_moment=config.second_moment,
    )


def module_of(name: str) -> str:
    """Return the part of the tokenizer that a parameter belongs to: encoder, quantizer or decoder."""
    return name.partition(".")[0].partition("_")[0]


def routing_table(claims: list[Claim], config: OptimizerConfig) -> list[tuple[str, str, int, int]]:
    """Return a row for each rule that claims something: pattern, optimizer, number of tensors, number of values."""
    rows = []
    for rule in config.rules or DEFAULT_RULES:
        for is_lazy in (False, True):
            members = [claim.parameter for claim in claims if claim.rule is rule and claim.is_lazy == is_lazy]
            if members:
                optimizer = "Muon" if _uses_muon(rule, config) else "AdamW, lazy" if is_lazy else "AdamW"
                rows.append((rule.pattern, optimizer, len(members), sum(member.numel() for member in members)))
    return rows


def _uses_muon(rule: RuleConfig, config: OptimizerConfig) -> bool:
    return config.name == "muon" and rule.use == "muon"
