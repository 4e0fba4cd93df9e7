"""Who gets Muon: rules over parameter names, each parameter claimed by exactly one."""

import re
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Len
from pydantic import Field
from torch import nn

from ..tokenizer.config import Config, Pattern
from .lr_scaling_config import LrScalingConfig
from .muon import Muon

ADAM_EPS = 1e-8


class RuleConfig(Config):
    """Which parameters one optimizer takes."""

    pattern: Pattern
    """Regular expression that the whole parameter name must match."""
    use: Literal["muon", "adamw"]
    """Optimizer of the parameters that match."""
    decay: bool = True
    """Whether weight decay applies to them."""


DEFAULT_RULES = [
    RuleConfig(
        pattern=r"(encoder|decoder)\.(levels|middle)\..*\.(conv\d?|shortcut|query|key|value|out)\.weight", use="muon"
    ),
    RuleConfig(pattern=r"(encoder|decoder)\.conv_(in|out)\.weight", use="adamw"),
    RuleConfig(pattern=r"quantizer_(in|out)\.weight", use="adamw"),
    RuleConfig(pattern=r"quantizer\..*", use="adamw", decay=False),
    RuleConfig(pattern=r"(encoder|decoder)\..*norm\w*\.weight", use="adamw", decay=False),
    RuleConfig(pattern=r"(encoder|decoder|quantizer_in|quantizer_out)\.(.*\.)?bias", use="adamw", decay=False),
]
"""Hidden convolutions to Muon; first and last layers, codebook, norms and biases to AdamW."""


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
    """Muon's rate as a multiple of AdamW's; about 10 for the scalings original and rms_to_rms."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """Decay of AdamW's averages."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of Muon's momentum, Nesterov's form."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay."""
    warmup: Annotated[int, Field(ge=0)] = 100
    """Steps over which the rate rises from 0."""
    final_lr: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the peak rate at the end of the cosine."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Greatest norm of the gradient; a greater one is scaled down."""
    rules: Annotated[list[RuleConfig], Len(1)] | None = None
    """Who gets Muon, each parameter matched by exactly one rule; none takes the built-in rules."""

    def at_batch_size(self, batch_size: int) -> "OptimizerConfig":
        """Return this config with the rates for a batch of `batch_size` images over all processes, each by its own law."""
        if self.scale_lr is None:
            return self
        adamw = self.scale_lr.adamw_factor(batch_size, self.betas[0], ADAM_EPS)
        muon = self.scale_lr.muon_factor(batch_size, self.momentum)
        return self.model_copy(
            update={"lr": self.lr * adamw, "muon_rate": self.muon_rate * muon / adamw, "scale_lr": None}
        )


class Claim(NamedTuple):
    """A parameter and the rule that claims it."""

    name: str
    parameter: nn.Parameter
    rule: RuleConfig


def claim_parameters(model: nn.Module, config: OptimizerConfig) -> list[Claim]:
    """Match every trainable parameter with its rule.

    Raises ValueError when a parameter is claimed by no rule or by two, when Muon gets one that is no matrix, or when a rule
    of the config claims none; a rule that claims only frozen parameters is not at fault.
    """
    rules = config.rules or DEFAULT_RULES
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
        claims.append(Claim(name, parameter, matching[0]))
    idle = [rule.pattern for rule in config.rules or [] if rule.pattern not in claiming]
    if idle:
        raise ValueError(f"optimizer.rules has {idle[0]!r}, which claims no parameter: correct or remove it.")
    return claims


def build_optimizer(claims: list[Claim], config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build one optimizer whose groups follow the rules."""
    groups = []
    for use_muon in (True, False):
        for decay in (True, False):
            members = [
                claim.parameter
                for claim in claims
                if (_uses_muon(claim.rule, config), claim.rule.decay) == (use_muon, decay)
            ]
            weight_decay = config.weight_decay if decay else 0.0
            groups.append({"params": members, "use_muon": use_muon, "weight_decay": weight_decay})
    groups = [group for group in groups if group["params"]]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    return Muon(
        groups,
        lr=config.lr,
        betas=config.betas,
        momentum=config.momentum,
        scaling=config.scaling,
        rate=config.muon_rate,
    )


def module_of(name: str) -> str:
    """Return the part of the tokenizer that a parameter belongs to: encoder, quantizer or decoder."""
    return name.partition(".")[0].partition("_")[0]


def routing_table(claims: list[Claim], config: OptimizerConfig) -> list[tuple[str, str, int, int]]:
    """Return a row for each rule that claims something: pattern, optimizer, number of tensors, number of values."""
    rows = []
    for rule in config.rules or DEFAULT_RULES:
        members = [claim.parameter for claim in claims if claim.rule is rule]
        if members:
            optimizer = "Muon" if _uses_muon(rule, config) else "AdamW"
            rows.append((rule.pattern, optimizer, len(members), sum(member.numel() for member in members)))
    return rows


def _uses_muon(rule: RuleConfig, config: OptimizerConfig) -> bool:
    return config.name == "muon" and rule.use == "muon"
