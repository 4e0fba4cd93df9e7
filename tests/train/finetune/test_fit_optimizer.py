"""Each part of a fitted quantizer is updated by its own optimizer."""

import re

import pytest
import torch
from torch import nn

from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.finetune.config import FitConfig
from vistok.train.finetune.fit_optimizer import BRIDGE_MATRICES, PROJECTION_MATRICES, fit_optimizer
from vistok.train.finetune.swap_quantizer import FittedQuantizer
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.muon_groups import uses_muon
from vistok.train.optimizer.routing import assign_parameters

TABLE = {"dim": 4, "codebook_size": 32}
SIMVQ = {"name": "simvq", **TABLE}
MATRICES = {
    "linear": (SIMVQ, {"codebook.projection.linear.weight"}),
    "diagonal": (SIMVQ | {"projection": "diagonal"}, set()),
    "mlp": (SIMVQ | {"projection": "mlp"}, {f"codebook.projection.{index}.weight" for index in (0, 2)}),
    "bridge": (
        {"name": "fvq", **TABLE, "width": 8},
        {f"codebook.projection.{layer}.weight" for layer in ("compress", "recover")}
        | {
            f"codebook.projection.process.{index}.{part}_{way}.weight"
            for index in (0, 1)
            for part in ("attention", "inner")
            for way in ("in", "out")
        },
    ),
    "no projection": ({"name": "vq", **TABLE}, set()),
    "scalar": ({"name": "fsq", "levels": [5, 5, 5, 5]}, set()),
}


def nested(values):
    return {"name": "residual", "depth": 2, "quantizer": values}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", MATRICES)
def test_muon_gets_the_matrices_of_the_projection_and_nothing_else(kind, inside):
    values, expected = MATRICES[kind]
    quantizer = build_quantizer(nested(values) if inside else values)
    model = FittedQuantizer(nn.Conv2d(4, 4, 1), quantizer, nn.Conv2d(4, 4, 1))
    names = {parameter: name for name, parameter in model.named_parameters()}
    for choice in ("adam", "auto", "muon"):
        optimizer = fit_optimizer(model, FitConfig(projection_optimizer=choice, muon_rate=3.0))
        given = [names[p] for group in optimizer.param_groups for p in group["params"] if uses_muon(p, group)]
        found = {name[name.index("codebook") :] for name in given}
        assert found == (expected if choice == "muon" or (choice == "auto" and kind == "bridge") else set())
        assert all(uses_muon(p, g) is False for g in optimizer.param_groups for p in g["params"] if p.ndim < 2)
        held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        assert len(held) == len(names) and set(held) == set(names)


@pytest.mark.parametrize("kind", MATRICES)
def test_a_run_gives_the_projection_to_adamw_and_may_give_it_to_muon(kind):
    values, expected = MATRICES[kind]
    model = small_tokenizer(values)
    matrices = f"({PROJECTION_MATRICES}|{BRIDGE_MATRICES})"
    mixed = [
        {"pattern": r"(encoder|decoder|quantizer_in|quantizer_out)\..*", "use": "adamw"},
        {"pattern": rf"quantizer\.{matrices}", "use": "muon", "decay": False},
        {"pattern": rf"quantizer\.(?!{matrices}$).*", "use": "adamw", "decay": False},
    ]
    for rules, wanted in ((None, set()), (_matching(mixed, model), {f"quantizer.{name}" for name in expected})):
        config = parse_config(OptimizerConfig, {"lr": 1e-3, "rules": rules}, "optimizer")
        assigned = {each.name: each for each in assign_parameters(model, config)}
        found = {name for name, _ in model.named_parameters() if name.startswith("quantizer.")}
        assert found <= set(assigned) and not any(assigned[name].decays for name in found)
        assert {name for name in found if assigned[name].use_muon} == wanted


def _matching(rules, model):
    """Leave out the rules that match nothing of a model, which a config may not have."""
    return [rule for rule in rules if any(re.fullmatch(rule["pattern"], name) for name, _ in model.named_parameters())]


def test_lazy_rows_of_a_fit_are_those_of_its_tables():
    quantizer = build_quantizer(nested(SIMVQ | {"trained_basis": True}))
    model = FittedQuantizer(nn.Identity(), quantizer, nn.Identity())
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer = fit_optimizer(model, FitConfig(projection_optimizer="muon", codebook_rows="lazy"))
    lazy = [names[p] for group in optimizer.param_groups if group["lazy"] for p in group["params"]]
    assert len(lazy) == 2 and all(name.endswith("codebook.basis") for name in lazy)
    with pytest.raises(
        ValueError, match="fit.codebook_rows is lazy, but this quantizer has no codebook whose rows are"
    ):
        model = FittedQuantizer(nn.Identity(), build_quantizer(SIMVQ), nn.Identity())
        fit_optimizer(model, FitConfig(codebook_rows="lazy"))


def test_with_neither_a_fit_has_torchs_adam():
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(3, 2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer = fit_optimizer(ours, FitConfig(lr=0.01))
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.9, 0.95))
    for _ in range(5):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        optimizer.step()
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
