"""Statistics of optimizer steps: size of updates, singular values of weights, AdamW's second moments."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..optimizer.muon_groups import uses_muon
from ..optimizer.routing import codebook_rows, module_of

CODEBOOK = "codebook"


def update_rms(before: Sequence[Tensor], after: Sequence[Tensor], lr: float, weight_decay: float = 0.0) -> Tensor:
    """Return the root mean square of u over all values, where the step was w <- (1 - lr weight_decay) w - lr u.

    For AdamW it is about sqrt((1 - beta1) / (1 + beta1)) if gradients are pure noise, and at most about 1 if they are
    constant (https://kexue.fm/archives/11267).
    """
    kept = 1 - lr * weight_decay
    squares = [(new - kept * old).float().square().sum() for old, new in zip(before, after, strict=True)]
    return (torch.stack(squares).sum() / sum(tensor.numel() for tensor in before)).sqrt() / lr


def singular_entropy(weights: Iterable[Tensor]) -> Tensor:
    """Return the mean over weights of H = -sum p log p / log n, in [0, 1]; p = s^2 / sum s^2 over n singular values.

    It is 1 for orthogonal weights, kernels as out x rest, and 0 for rank 1 (https://kexue.fm/archives/10739). Weights that
    are 0, not finite, or with one singular value are left out; if none is left, the result is NaN.
    """
    by_shape: dict[object, list[Tensor]] = defaultdict(list)
    for weight in weights:
        matrix = weight.detach().flatten(1).float()
        matrix = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
        if len(matrix) > 1:
            by_shape[matrix.shape].append(matrix)
    entropies = [torch.zeros(0)]
    for members in by_shape.values():
        batch = torch.stack(members)
        gram = batch @ batch.mT
        finite = gram.isfinite().all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
        energies = torch.linalg.eigvalsh(gram.where(finite, 0)).clamp_min(0)
        p = energies / energies.sum(dim=-1, keepdim=True)
        entropies.append((torch.special.entr(p).sum(dim=-1) / math.log(p.shape[-1])).cpu())
    return torch.cat(entropies).nanmean()


@torch.no_grad()
def adam_moments(optimizer: Optimizer) -> dict[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return sqrt(v), sqrt(v - m^2) and whether eps exceeds the root beside it, for each parameter that AdamW has stepped.

    v is the mean of g^2 and m that of g, with the bias corrected; a centred second moment stores v - m^2. Its root is biased
    low, because m holds noise too. The bias is 3 % at beta1 = 0.9 on pure noise, and 10 to 20 % where the mean is several
    times the deviation. A row that a lazy AdamW has not stepped yet has moments of 0. No device sync.
    """
    found = {}
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            if "exp_avg_sq" not in state:
                continue
            steps = state["step"].clamp_min(1)
            if steps.ndim:  # a counter for each row
                steps = steps.to(parameter.device)
            mean = state["exp_avg"].float() / (1 - beta1**steps)
            second = state["exp_avg_sq"].float() / (1 - beta2**steps)
            if group.get("second_moment") == "centred":
                raw, centred = second + mean.square(), second
            else:
                raw, centred = second, (second - mean.square()).clamp_min(0)
            found[parameter] = raw.sqrt(), centred.sqrt(), second.sqrt() < group["eps"]
    return found


class UpdateStatistics:
    """Reads an optimizer around the steps that are logged; `model` is the tokenizer without a wrapper."""

    def __init__(self, optimizer: Optimizer, model: nn.Module):
        self._optimizer = optimizer
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        self._rows = codebook_rows(model)
        self._before: list[list[Tensor]] | None = None

    @torch.no_grad()
    def before_step(self) -> None:
        """Copy the parameters."""
        self._before = [[p.detach().clone() for p in group["params"]] for group in self._optimizer.param_groups]

    @torch.no_grad()
    def after_step(self) -> dict[str, float]:
        """Return scalars by log path, with one device sync; those that do not apply are left out.

        `optimizer/update_rms/{muon,adamw}` and `optimizer/singular_entropy` are as in the functions above. The others are
        of AdamW's values in {encoder,quantizer,decoder}:

        `optimizer/below_epsilon/...` is the fraction with sqrt(v) < eps, whose updates are proportional to the gradient, as
        those of SGD at lr / eps (https://kexue.fm/archives/10563); if it is large, tune eps. `optimizer/below_epsilon` is
        that of all, and `.../codebook` that of the rows of codebooks: in unused rows v decays, so dead rows count.

        `optimizer/curvature/...` is the mean of sqrt(v), `optimizer/gradient_std/...` that of sqrt(v - m^2). With little
        noise, sqrt(v) is proportional to the diagonal of the Hessian (https://kexue.fm/archives/10588). At usual batch sizes
        it is mostly noise, near gradient_std, and falls as one over the square root of the batch size.
        """
        assert self._before is not None, "before_step comes first"
        values = self._update_sizes(self._before) | self._second_moments()
        self._before = None
        matrices = [p for group in self._optimizer.param_groups for p in group["params"] if uses_muon(p, group)]
        if matrices:
            values["optimizer/singular_entropy"] = singular_entropy(matrices)
        if not values:
            return {}
        figures = torch.stack([value.to("cpu", torch.float32) for value in values.values()]).tolist()
        return {path: figure for path, figure in zip(values, figures, strict=True) if math.isfinite(figure)}

    def _update_sizes(self, before: list[list[Tensor]]) -> dict[str, Tensor]:
        squares: dict[str, list[Tensor]] = defaultdict(list)
        counts: dict[str, int] = defaultdict(int)
        for group, olds in zip(self._optimizer.param_groups, before, strict=True):
            if group["lr"] == 0:
                continue
            for old, new in zip(olds, group["params"], strict=True):
                path = f"optimizer/update_rms/{'muon' if uses_muon(new, group) else 'adamw'}"
                rms = update_rms([old], [new], group["lr"], group["weight_decay"])
                squares[path].append(old.numel() * rms.square())
                counts[path] += old.numel()
        return {path: (torch.stack(parts).sum() / counts[path]).sqrt() for path, parts in squares.items()}

    def _second_moments(self) -> dict[str, Tensor]:
        parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = defaultdict(list)
        for parameter, moments in adam_moments(self._optimizer).items():
            parts[module_of(self._names[parameter])].append(moments)
            if parameter in self._rows:
                parts[CODEBOOK].append(moments)
        values: dict[str, Tensor] = {}
        everything = []
        for module, found in parts.items():
            roots, deviations, below = (
                torch.cat([part.flatten() for part in column]) for column in zip(*found, strict=True)
            )
            values[f"optimizer/below_epsilon/{module}"] = below.float().mean()
            if module != CODEBOOK:
                values[f"optimizer/curvature/{module}"] = roots.mean()
                values[f"optimizer/gradient_std/{module}"] = deviations.mean()
                everything.append(below)
        return values | ({"optimizer/below_epsilon": torch.cat(everything).float().mean()} if everything else {})
