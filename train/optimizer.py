"""Who gets Muon: ordered rules over parameter names, each parameter claimed exactly once."""

import re
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Len
from pydantic import Field
from torch import nn

from ..tokenizer.config import Config
from .muon import Muon


class RuleConfig(Config):
    """Which parameters one optimizer takes."""

    pattern: str
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
    """Peak learning rate; Muon's updates are scaled to the size of AdamW's, so one rate serves both."""
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
    """Who gets Muon; none takes the built-in rules."""


class Claim(NamedTuple):
    """A parameter and the rule that claims it."""

    name: str
    parameter: nn.Parameter
    rule: RuleConfig


def claim_parameters(model: nn.Module, config: OptimizerConfig) -> list[Claim]:
    """Match every trainable parameter with its rule.

    Raises ValueError when a parameter is claimed by no rule or by two, or a rule of the config claims none.
    """
    rules = config.rules or DEFAULT_RULES
    claims = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        matching = [rule for rule in rules if re.fullmatch(rule.pattern, name)]
        if len(matching) != 1:
            patterns = " and ".join(repr(rule.pattern) for rule in matching) or "none"
            raise ValueError(
                f"Parameter {name} must be claimed by exactly one of optimizer.rules, but {patterns} claim it: change "
                "the patterns."
            )
        claims.append(Claim(name, parameter, matching[0]))
    claiming = {claim.rule.pattern for claim in claims}
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
            groups.append({"params": members, "use_muon": use_muon, "nesterov": use_muon, "weight_decay": weight_decay})
    groups = [group for group in groups if group["params"]]
    if config.name == "adamw":
        plain = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups]
        return torch.optim.AdamW(plain, lr=config.lr, betas=config.betas)
    return Muon(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        betas=config.betas,
        adjust_lr_fn="match_rms_adamw",
        conv_mode="flatten",
        eps=1e-8,
    )


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
