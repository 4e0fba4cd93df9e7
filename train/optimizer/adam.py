"""AdamW's step: dense, or lazy by rows; with the raw second moment, or the centred one of AdaBelief.

All keep `exp_avg` (m), `exp_avg_sq` (v) and `step` (t) for a parameter w. They move it by
-lr (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay w), and differ in v and in what counts as a step.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim.adamw import adamw

SecondMoment = Literal["raw", "centred"]
SECOND_MOMENTS = get_args(SecondMoment)

State = dict[str, Tensor]
Group = Mapping[str, Any]


def step_adamw(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    states: Sequence[State],
    group: Group,
    skip: Tensor | None = None,
) -> None:
    """Step parameters in place as `group` says: lr, betas, eps, weight_decay, `lazy` and `second_moment`.

    Empty states are filled. `raw` averages g^2, as Adam does. `centred` averages (g - m)^2 with the new m, the variance of
    the gradient: steady gradients take long steps and noisy ones short ones (AdaBelief, arXiv 2010.07468). Its authors also
    add eps to v at every step; here eps is only beside the root, as in AdamW. A gradient that hardly varies takes steps of
    up to lr / eps times its size, so `centred` needs an eps that is not negligible.

    `lazy` is for codebooks, where a step uses few rows: those with a gradient that is not 0 in some entry. Under dense AdamW
    the momentum of one hit keeps moving its row while the second moment fades. With betas 0.9 and 0.95, a row used every 300
    steps then moves 6 times as far per hit as one used at every step (10 times with 0.99). Under lazy AdamW both move the
    same. Soft assignments, distribution losses and projections that mix rows give all rows gradients: lazy is then dense.

    With `skip`, a boolean scalar on their device, nothing changes where it is true, whatever the gradients. No device sync.
    """
    if not parameters:
        return
    if group["lazy"]:
        for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
            _step_rows(parameter, gradient, state, group, skip)
    elif group["second_moment"] == "centred":
        _step_centred(list(parameters), list(gradients), states, group, skip)
    else:
        _step_raw(list(parameters), list(gradients), states, group, skip)


def _step_raw(
    parameters: list[Tensor], gradients: list[Tensor], states: Sequence[State], group: Group, skip: Tensor | None
) -> None:
    beta1, beta2 = group["betas"]
    device = None if skip is None else skip.device
    adamw(
        parameters,
        gradients,
        exp_avgs=state_entries(parameters, states, "exp_avg"),
        exp_avg_sqs=state_entries(parameters, states, "exp_avg_sq"),
        max_exp_avg_sqs=[],
        state_steps=steps_taken(states, device),
        fused=None if skip is None else True,
        found_inf=None if skip is None else skip.float(),
        amsgrad=False,
        beta1=beta1,
        beta2=beta2,
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )


def _step_centred(
    parameters: list[Tensor], gradients: list[Tensor], states: Sequence[State], group: Group, skip: Tensor | None
) -> None:
    (beta1, beta2), lr = group["betas"], group["lr"]
    means = state_entries(parameters, states, "exp_avg")
    variances = state_entries(parameters, states, "exp_avg_sq")
    steps = steps_taken(states, None if skip is None else skip.device)
    kept = [*parameters, *means, *variances, *steps]
    before = [] if skip is None else [tensor.clone() for tensor in kept]
    torch._foreach_add_(steps, 1)
    # Counted on the host unless the device skips steps.
    counts: list[Any] = [float(step) for step in steps] if skip is None else steps
    torch._foreach_lerp_(means, gradients, 1 - beta1)
    residuals = torch._foreach_sub(gradients, means)
    torch._foreach_mul_(variances, beta2)
    torch._foreach_addcmul_(variances, residuals, residuals, value=1 - beta2)
    roots = torch._foreach_sqrt(variances)
    torch._foreach_div_(roots, [(1 - beta2**count) ** 0.5 for count in counts])
    torch._foreach_add_(roots, group["eps"])
    if group["weight_decay"]:
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
    if skip is None:
        torch._foreach_addcdiv_(parameters, means, roots, [-lr / (1 - beta1**count) for count in counts])
        return
    torch._foreach_mul_(roots, [1 - beta1**count for count in counts])
    torch._foreach_addcdiv_(parameters, means, roots, value=-lr)
    for tensor, old in zip(kept, before, strict=True):
        tensor.copy_(torch.where(skip, old, tensor))


def _step_rows(parameter: Tensor, gradient: Tensor, state: State, group: Group, skip: Tensor | None) -> None:
    """Step the rows whose gradient is not 0, each as if the steps that did not use it had not happened.

    The other rows keep their moments and counters and do not decay. `step` is a counter per row, ` k 1 ...`, on the
    parameter's device; no device sync.
    """
    beta1, beta2 = group["betas"]
    if skip is not None:
        gradient = torch.where(skip, 0, gradient)
    used = (gradient != 0).reshape(len(parameter), -1).any(dim=1).reshape(-1, *[1] * (parameter.ndim - 1))
    (mean,) = state_entries([parameter], [state], "exp_avg")
    (square,) = state_entries([parameter], [state], "exp_avg_sq")
    if "step" not in state:
        state["step"] = torch.zeros(used.shape, device=parameter.device)
    state["step"] = steps = state["step"].to(parameter.device) + used  # checkpoints load it on the CPU
    weight = used.to(parameter.dtype)
    mean.lerp_(gradient, weight * (1 - beta1))
    centre = gradient - mean if group["second_moment"] == "centred" else gradient
    square.lerp_(centre.square(), weight * (1 - beta2))
    taken = steps.clamp_min(1)
    update = mean / (1 - beta1**taken) / ((square / (1 - beta2**taken)).sqrt() + group["eps"])
    if group["weight_decay"]:
        update = update + group["weight_decay"] * parameter
    parameter.sub_(group["lr"] * torch.where(used, update, 0))


def state_entries(parameters: Sequence[Tensor], states: Sequence[State], name: str) -> list[Tensor]:
    """Return one entry of each parameter's state, zeros at first."""
    for parameter, state in zip(parameters, states, strict=True):
        if name not in state:
            state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return [state[name] for state in states]


def steps_taken(states: Sequence[State], device: torch.device | None = None) -> list[Tensor]:
    """Return the step counter of each parameter, tensors on the CPU, or on a device that skips steps by itself."""
    for state in states:
        if "step" not in state:
            state["step"] = torch.zeros((), device=device)
        elif device is not None and state["step"].device != device:  # from a checkpoint, or a run that skipped none
            state["step"] = state["step"].to(device)
    return [state["step"] for state in states]
