"""Which parameters Muon and AdamW take: the networks' own hidden matrices, or the rules of a config."""

import re
from collections.abc import Set
from typing import NamedTuple

from torch import nn

from ...tokenizer.model import VisualTokenizer
from ...tokenizer.networks.base import Network
from ...tokenizer.quantizers.vector.codebooks import Codebook
from .config import OptimizerConfig, RuleConfig
from .muon import Muon

HIDDEN = RuleConfig(pattern="hidden matrices of the networks", use="muon")
OUTER = RuleConfig(pattern="first and last layers", use="adamw")
VECTORS = RuleConfig(pattern="norms and biases of the networks", use="adamw", decay=False)
CODES = RuleConfig(pattern="quantizer", use="adamw", decay=False)
"""The built-in rules, which go by what a parameter is; their patterns are names for the routing table."""


class ParameterAssignment(NamedTuple):
    """A trainable parameter and what updates it."""

    name: str
    parameter: nn.Parameter
    rule: str
    """Pattern or built-in rule that matches it."""
    use_muon: bool
    decays: bool
    """Whether weight decay applies."""
    is_lazy: bool = False
    """Whether AdamW steps only the rows that got a gradient."""


def assign_parameters(model: VisualTokenizer | Network, config: OptimizerConfig) -> list[ParameterAssignment]:
    """Assign every trainable parameter to Muon or AdamW.

    Raises ValueError for a parameter that no rule or more than one matches, and for one with a single axis that a rule
    gives to Muon. A rule must match a parameter, trainable or frozen. Hidden matrices that the networks name must exist,
    and so must a codebook whose rows are to be lazy.
    """
    hidden = set(model.hidden_matrices())
    unknown = hidden - {name for name, _ in model.named_parameters()}
    if unknown:
        raise ValueError(
            f"The networks call {min(unknown)} a hidden matrix, but the tokenizer has no such parameter: correct their "
            "hidden_matrices."
        )
    rows = codebook_rows(model) if config.codebook_rows == "lazy" else set()
    matched: set[str] = set()
    assignments = []
    for name, parameter in model.named_parameters():
        rules = [rule for rule in config.rules or [] if re.fullmatch(rule.pattern, name)]
        matched.update(rule.pattern for rule in rules)
        if not parameter.requires_grad:
            continue
        rule = _only(rules, name) if config.rules else _built_in(name, parameter, hidden)
        use_muon = config.name == "muon" and rule.use == "muon"
        if use_muon and parameter.ndim < 2:
            raise ValueError(
                f"Parameter {name} of shape {tuple(parameter.shape)} is given to Muon by {rule.pattern!r}, but Muon takes "
                "matrices and kernels: use adamw for it."
            )
        is_lazy = parameter in rows and not use_muon
        assignments.append(ParameterAssignment(name, parameter, rule.pattern, use_muon, rule.decay, is_lazy))
    idle = [rule.pattern for rule in config.rules or [] if rule.pattern not in matched]
    if idle:
        raise ValueError(f"optimizer.rules has {idle[0]!r}, which matches no parameter: correct or remove it.")
    if config.codebook_rows == "lazy" and not any(assignment.is_lazy for assignment in assignments):
        raise ValueError(
            "optimizer.codebook_rows is lazy, but AdamW trains no codebook by its rows here: use dense, or a quantizer with "
            "a trained table, such as vq or ibq."
        )
    return assignments


def _only(rules: list[RuleConfig], name: str) -> RuleConfig:
    if len(rules) != 1:
        patterns = " and ".join(repr(rule.pattern) for rule in rules) or "none"
        raise ValueError(
            f"Parameter {name} must match exactly one of optimizer.rules, but matches {patterns}: change the patterns."
        )
    return rules[0]


def _built_in(name: str, parameter: nn.Parameter, hidden: Set[str]) -> RuleConfig:
    if name in hidden:
        return HIDDEN
    if name.startswith("quantizer."):
        return CODES
    return VECTORS if parameter.ndim < 2 else OUTER


def codebook_rows(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that have a row for each code of a codebook."""
    codebooks = (module for module in model.modules() if isinstance(module, Codebook))
    return {parameter for codebook in codebooks for parameter in codebook.row_parameters()}


def build_optimizer(assignments: list[ParameterAssignment], config: OptimizerConfig) -> Muon:
    """Build one optimizer whose groups follow the assignments."""
    members: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for assignment in assignments:
        kind = assignment.use_muon, assignment.decays, assignment.is_lazy
        members.setdefault(kind, []).append(assignment.parameter)
    groups = [
        {"params": params, "use_muon": use_muon, "weight_decay": config.weight_decay if decays else 0.0, "lazy": lazy}
        for (use_muon, decays, lazy), params in sorted(members.items(), reverse=True)
    ]
    shared = config.model_dump(include={"lr", "betas", "momentum", "eps", "scaling", "second_moment"})
    return Muon(groups, **shared, rate=config.muon_rate, precision=config.orthogonalization)


def module_of(name: str) -> str:
    """Return the part of the tokenizer that a parameter belongs to: encoder, quantizer or decoder."""
    return name.partition(".")[0].partition("_")[0]


def routing_table(assignments: list[ParameterAssignment]) -> list[tuple[str, str, int, int]]:
    """Return a row for each rule and optimizer, Muon first: rule, optimizer, number of tensors, number of values."""
    sizes: dict[tuple[str, str], list[int]] = {}
    for assignment in sorted(assignments, key=lambda assignment: not assignment.use_muon):
        optimizer = "Muon" if assignment.use_muon else "AdamW, lazy" if assignment.is_lazy else "AdamW"
        sizes.setdefault((assignment.rule, optimizer), []).append(assignment.parameter.numel())
    return [(rule, optimizer, len(values), sum(values)) for (rule, optimizer), values in sizes.items()]
