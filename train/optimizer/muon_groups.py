"""Parameter groups of Muon: which parameters are its own, and which settings are allowed."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from .adam import SECOND_MOMENTS
from .orthogonalize import PRECISIONS


def uses_muon(parameter: Tensor, group: Mapping[str, Any]) -> bool:
    """Return whether Muon takes a parameter of a group, of any optimizer.

    `use_muon` of the group decides; where it is None, two dimensions or more. It is False in groups of other optimizers.
    """
    use_muon = group.get("use_muon", False)
    return parameter.ndim >= 2 if use_muon is None else bool(use_muon)


def check_group(group: Mapping[str, Any], scalings: Collection[str]) -> None:
    """Raise ValueError when Muon and its AdamW cannot take the settings or the parameters of a group."""
    _check_settings(group)
    _check_choice("use_muon", group["use_muon"], (True, False, None))
    _check_choice("scaling", group["scaling"], scalings)
    _check_choice("precision", group["precision"], PRECISIONS)
    _check_choice("second_moment", group["second_moment"], SECOND_MOMENTS)
    names = group.get("param_names", [None] * len(group["params"]))
    for name, parameter in zip(names, group["params"], strict=True):
        what = f"{name or 'a parameter'} of shape {tuple(parameter.shape)}"
        if parameter.is_complex():
            raise ValueError(f"Muon got {what} and type {parameter.dtype}, but takes real ones: use view_as_real.")
        if parameter.ndim < 2 and group["use_muon"]:
            raise ValueError(
                f"Muon got {what} in a group with use_muon: True, but takes matrices and kernels there: put it into a group "
                "with use_muon: False, which is AdamW's."
            )
        if group["lazy"] and (parameter.ndim < 2 or uses_muon(parameter, group)):
            raise ValueError(
                f"Muon got {what} in a group with lazy: True, but lazy is for AdamW on tables of rows: set use_muon: False "
                "there, and leave out other parameters."
            )


def _check_settings(group: Mapping[str, Any]) -> None:
    if not isinstance(group["betas"], Sequence) or len(group["betas"]) != 2:
        raise ValueError(f"Muon got betas {group['betas']}, but takes two numbers, such as (0.9, 0.95).")
    beta1, beta2 = group["betas"]
    below_one = {"betas[0]": beta1, "betas[1]": beta2, "momentum": group["momentum"]}
    for name, value in below_one.items():
        if not 0 <= value < 1:
            raise ValueError(f"Muon got {name} {value}, but it must be at least 0 and below 1.")
    for name in ("lr", "weight_decay", "rate"):
        if not group[name] >= 0:
            raise ValueError(f"Muon got {name} {group[name]}, but it must be at least 0.")
    if not group["eps"] > 0:
        raise ValueError(
            f"Muon got eps {group['eps']}, but it must be above 0: AdamW divides by it where no gradient came."
        )
    if group["second_moment"] == "centred" and beta1 == 0:
        raise ValueError(
            "Muon got second_moment 'centred' with betas[0] 0, but needs momentum there, from which the gradient varies: use "
            "'raw', or betas[0] above 0."
        )


def _check_choice(key: str, value: object, allowed: Collection[object]) -> None:
    if value not in allowed:
        raise ValueError(f"Muon got {key} {value!r}, but it must be one of {', '.join(map(str, allowed))}.")
