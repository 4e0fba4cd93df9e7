"""What the optimizer does, read around a step: sizes of updates, spectra of weights, AdamW's second moments."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .optimizer import module_of


def update_rms(before: Sequence[Tensor], after: Sequence[Tensor], lr: float, weight_decay: float = 0.0) -> Tensor:
    """Return the root mean square over all values of u, where the step was w <- (1 - lr weight_decay) w - lr u.

    AdamW's is about sqrt((1 - beta1) / (1 + beta1)) on noise and at most about 1 on a steady gradient (kexue.fm 11267).
    """
    kept = 1 - lr * weight_decay
    squares = [(new - kept * old).float().square().sum() for old, new in zip(before, after, strict=True)]
    return (torch.stack(squares).sum() / sum(tensor.numel() for tensor in before)).sqrt() / lr


def singular_entropy(weights: Iterable[Tensor]) -> Tensor:
    """Return the mean over weights of H = -sum p log p / log n, in [0, 1]; p = s^2 / sum s^2 over n singular values.

    1 for orthogonal weights, 0 for those of rank 1 (kexue.fm 10739). Kernels are seen as out x rest. Weights that are 0,
    not finite, or of one singular value are left out; NaN when none is left.
    """
    alike: dict[object, list[Tensor]] = defaultdict(list)
    for weight in weights:
        matrix = weight.detach().flatten(1).float()
        matrix = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
        if len(matrix) > 1:
            alike[matrix.shape].append(matrix)
    entropies = [torch.zeros(0)]
    for members in alike.values():
        batch = torch.stack(members)
        gram = batch @ batch.mT
        finite = gram.isfinite().all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
        energies = torch.linalg.eigvalsh(gram.where(finite, 0)).clamp_min(0)
        share = energies / energies.sum(dim=-1, keepdim=True)
        entropies.append((torch.special.entr(share).sum(dim=-1) / math.log(share.shape[-1])).cpu())
    return torch.cat(entropies).nanmean()


def second_moments(optimizer: Optimizer) -> dict[Tensor, Tensor]:
    """Return sqrt(v / (1 - beta2^t)) of every parameter that AdamW has moved."""
    roots = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if "exp_avg_sq" in state:
                correction = 1 - group["betas"][1] ** float(state["step"])
                roots[parameter] = (state["exp_avg_sq"] / correction).sqrt()
    return roots


class OptimizerHealth:
    """Reads an optimizer of `build_optimizer`, plain or wrapped by accelerate, around the steps that are logged.

    `before_step` copies the parameters that are trained; `after_step` decomposes Muon's matrices. Steps that are not logged
    need neither. `model` is the bare tokenizer, whose parameters the optimizer holds.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module):
        self._optimizer = optimizer
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        self._before: list[list[Tensor]] | None = None

    @torch.no_grad()
    def before_step(self) -> None:
        """Remember the parameters as they are."""
        self._before = [[p.detach().clone() for p in group["params"]] for group in self._optimizer.param_groups]

    @torch.no_grad()
    def after_step(self) -> dict[str, float]:
        """Return the step's figures by log path, with one wait for the device; what does not apply is left out.

        `optimizer/update_rms/{muon,adamw}` and `optimizer/singular_entropy` of Muon's weights are as in the functions
        above; `optimizer/below_epsilon` is the share of AdamW's values with sqrt(v) < eps, whose steps eps shrinks (kexue.fm
        10563); `optimizer/curvature/{encoder,quantizer,decoder}` is the mean of AdamW's sqrt(v), which near a minimum is
        in proportion to the Hessian's diagonal (10588).
        """
        assert self._before is not None, "before_step comes first"
        values = self._update_sizes(self._before) | self._second_moments()
        self._before = None
        matrices = [p for group in self._optimizer.param_groups if group.get("use_muon") for p in group["params"]]
        if matrices:
            values["optimizer/singular_entropy"] = singular_entropy(matrices)
        if not values:
            return {}
        figures = torch.stack([value.to("cpu", torch.float32) for value in values.values()]).tolist()
        return {path: figure for path, figure in zip(values, figures, strict=True) if math.isfinite(figure)}

    def _update_sizes(self, before: list[list[Tensor]]) -> dict[str, Tensor]:
        squares: dict[str, list[Tensor]] = defaultdict(list)
        counts: dict[str, int] = defaultdict(int)
        for group, old in zip(self._optimizer.param_groups, before, strict=True):
            if group["lr"] == 0:
                continue
            path = f"optimizer/update_rms/{_kind(group)}"
            count = sum(tensor.numel() for tensor in old)
            rms = update_rms(old, group["params"], group["lr"], group["weight_decay"])
            squares[path].append(count * rms.square())
            counts[path] += count
        return {path: (torch.stack(parts).sum() / counts[path]).sqrt() for path, parts in squares.items()}

    def _second_moments(self) -> dict[str, Tensor]:
        roots = second_moments(self._optimizer)
        if not roots:
            return {}
        eps = {p: group["eps"] for group in self._optimizer.param_groups for p in group["params"]}
        below = torch.stack([(root < eps[parameter]).sum() for parameter, root in roots.items()]).sum()
        values = {"optimizer/below_epsilon": below / sum(root.numel() for root in roots.values())}
        modules: dict[str, list[Tensor]] = defaultdict(list)
        for parameter, root in roots.items():
            modules[module_of(self._names[parameter])].append(root.flatten())
        return values | {f"optimizer/curvature/{name}": torch.cat(parts).mean() for name, parts in modules.items()}


def _kind(group: dict[str, Any]) -> str:
    return "muon" if group.get("use_muon") else "adamw"
