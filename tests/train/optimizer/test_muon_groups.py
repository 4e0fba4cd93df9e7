"""Who of Muon's parameters gets Muon, and what it refuses."""

import copy
import pickle

import pytest
import torch
from torch import nn

from vistok.train.optimizer.muon import Muon


class Network(nn.Module):
    """A parameter of every kind."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 4)
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.GroupNorm(1, 4)
        self.temperature = nn.Parameter(torch.tensor(1.0))


MATRICES = {"linear.weight", "convolution.weight"}


def network():
    torch.manual_seed(0)
    return Network()


def give_gradients(model, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def with_momentum(model, optimizer):
    return {name for name, parameter in model.named_parameters() if "momentum_buffer" in optimizer.state[parameter]}


GIVEN = {
    "bare": lambda model: model.parameters(),
    "list": lambda model: list(model.parameters()),
    "named": lambda model: model.named_parameters(),
    "one group": lambda model: [{"params": list(model.parameters())}],
    "named group": lambda model: [{"params": model.named_parameters(), "weight_decay": 0.0}],
    "groups that say so": lambda model: [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "use_muon": True},
        {"params": [p for p in model.parameters() if p.ndim < 2], "use_muon": False},
    ],
    "one of two": lambda model: [
        {"params": [model.linear.weight, model.linear.bias]},
        {"params": [model.convolution.weight], "use_muon": True},
        {"params": [*model.norm.parameters(), model.convolution.bias, model.temperature], "use_muon": False},
    ],
}


@pytest.mark.parametrize("how", GIVEN)
def test_matrices_and_kernels_get_muon_and_the_rest_torchs_adamw(how):
    model, reference = network(), network()
    optimizer = Muon(GIVEN[how](model), lr=0.01)
    vectors = [parameter for parameter in reference.parameters() if parameter.ndim < 2]
    adamw = torch.optim.AdamW(vectors, lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    muon = [{"params": [p for p in reference.parameters() if p.ndim >= 2], "use_muon": True}]
    only_muon = Muon(muon, lr=0.01)
    for seed in range(3):
        give_gradients(model, seed), give_gradients(reference, seed)
        optimizer.step(), adamw.step(), only_muon.step()
    assert with_momentum(model, optimizer) == MATRICES
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_a_first_step_of_bare_parameters_is_orthogonal():
    model = network()
    before = model.linear.weight.detach().clone()
    give_gradients(model)
    Muon(model.parameters(), lr=1.0, scaling="original").step()
    values = torch.linalg.svdvals(model.linear.weight.detach() - before)
    assert values.min() > 0.6 and values.max() < 1.3


def test_an_embedding_that_a_group_keeps_from_muon_is_adamws():
    table, matrix = nn.Parameter(torch.randn(10, 4)), nn.Parameter(torch.randn(4, 4))
    optimizer = Muon([{"params": [table], "use_muon": False}, {"params": [matrix]}], lr=0.1)
    before = table.detach().clone()
    table.grad, matrix.grad = torch.zeros(10, 4), torch.randn(4, 4)
    table.grad[3] = 1
    optimizer.step()
    moved = (table.detach() != before).any(dim=1)
    assert moved.tolist() == [row == 3 for row in range(10)]


def test_groups_that_are_added_later_go_by_the_same_rule():
    model = network()
    optimizer = Muon(model.linear.parameters(), lr=0.1)
    optimizer.add_param_group({"params": [*model.convolution.parameters(), *model.norm.parameters()], "lr": 0.2})
    give_gradients(model)
    optimizer.step()
    assert with_momentum(model, optimizer) == MATRICES


@pytest.mark.parametrize("shape", [(), (7,)])
def test_no_vector_goes_into_a_group_of_muons(shape):
    parameter = nn.Parameter(torch.zeros(shape))
    message = (
        r"a parameter of shape \(.*\) in a group with use_muon: True, but takes matrices and kernels there: put it"
    )
    with pytest.raises(ValueError, match=message):
        Muon([{"params": [parameter], "use_muon": True}], lr=0.1)
    optimizer = Muon([nn.Parameter(torch.zeros(2, 2))], lr=0.1)
    with pytest.raises(ValueError, match=r"scale of shape .* use_muon: True"):
        Muon([{"params": [("scale", parameter)], "use_muon": True}], lr=0.1)
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [parameter], "use_muon": True})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "got lr -1.0, but it must be at least 0"),
        ({"betas": (1.0, 0.9)}, r"got betas\[0\] 1.0, but it must be at least 0 and below 1"),
        ({"betas": (0.9, -0.1)}, r"got betas\[1\] -0.1"),
        ({"momentum": 1.0}, "got momentum 1.0, but it must be at least 0 and below 1"),
        ({"weight_decay": float("nan")}, "got weight_decay nan, but it must be at least 0"),
        ({"rate": -1.0}, "got rate -1.0"),
        ({"eps": 0.0}, "got eps 0.0, but it must be above 0"),
        (
            {"scaling": "spectral"},
            "got scaling 'spectral', but it must be one of match_rms_adamw, original, rms_to_rms",
        ),
        ({"second_moment": "third"}, "got second_moment 'third', but it must be one of raw, centred"),
        ({"betas": (0.9,)}, r"got betas \(0.9,\), but takes two numbers, such as \(0.9, 0.95\)"),
        ({"betas": 0.9}, "got betas 0.9, but takes two numbers"),
        ({"betas": (0.0, 0.9), "second_moment": "centred"}, r"'centred' with betas\[0\] 0, but needs momentum there"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Muon([nn.Parameter(torch.zeros(2, 2))], **({"lr": 0.1} | settings))


def test_use_muon_is_no_text():
    with pytest.raises(ValueError, match="got use_muon 'False', but it must be one of True, False, None"):
        Muon([{"params": [nn.Parameter(torch.zeros(2, 2))], "use_muon": "False"}], lr=0.1)


def test_lazy_rows_are_for_tables_that_muon_does_not_have():
    vector, table = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3, 2))
    for group in [
        {"params": [vector], "use_muon": False},
        {"params": [table], "use_muon": True},
        {"params": [table]},
    ]:
        with pytest.raises(ValueError, match="in a group with lazy: True, but lazy is for AdamW on tables of rows"):
            Muon([group | {"lazy": True}], lr=0.1)


def test_complex_parameters_and_sparse_gradients_are_refused():
    with pytest.raises(ValueError, match=r"type torch.complex64, but takes real ones: use view_as_real"):
        Muon([nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))], lr=0.1)
    for use_muon in (None, False):
        embedding = nn.Embedding(5, 3, sparse=True)
        optimizer = Muon([{"params": embedding.parameters(), "use_muon": use_muon}], lr=0.1)
        embedding(torch.tensor([1, 2])).sum().backward()
        with pytest.raises(ValueError, match="got a sparse gradient, but takes dense ones: build the embedding with"):
            optimizer.step()


def test_no_parameters_are_an_error_and_empty_ones_are_none():
    with pytest.raises(ValueError, match="empty parameter list"):
        Muon([], lr=0.1)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in [(0, 5), (5, 0), (0,), (2, 2)]]
    optimizer = Muon([{"params": parameters}, {"params": []}], lr=0.1)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert parameters[-1].abs().min() > 0


@pytest.mark.parametrize("again", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_as_the_original(again):
    model = network()
    optimizer = Muon(model.parameters(), lr=0.1, scaling="original", rate=3.0)
    give_gradients(model)
    optimizer.step()
    twin, twins_optimizer = again((model, optimizer))
    for each, its_optimizer in ((model, optimizer), (twin, twins_optimizer)):
        give_gradients(each, 2)
        its_optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_a_state_dict_of_bare_parameters_is_restored_exactly():
    def run(model, optimizer, seeds):
        for seed in seeds:
            give_gradients(model, seed)
            optimizer.step()

    straight = network()
    run(straight, Muon(straight.parameters(), lr=0.1), range(4))
    halves = network()
    optimizer = Muon(halves.parameters(), lr=0.1)
    run(halves, optimizer, range(2))
    fresh = Muon(halves.parameters(), lr=0.7)
    fresh.load_state_dict(optimizer.state_dict())
    run(halves, fresh, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), halves.parameters(), strict=True))


def test_schedulers_set_the_rate_of_both_kinds():
    model = network()
    optimizer = Muon(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    give_gradients(model)
    optimizer.step()
    scheduler.step()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    again = Muon([{**group} for group in optimizer.param_groups], lr=0.1)  # with the scheduler's initial_lr
    again.step()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_parameters_of_other_types_keep_them(dtype):
    model = network().to(dtype)
    exact = network().double()
    optimizer, reference = Muon(model.parameters(), lr=0.01), Muon(exact.parameters(), lr=0.01)
    for seed in range(3):
        give_gradients(model, seed), give_gradients(exact, seed)
        optimizer.step(), reference.step()
    for ours, theirs in zip(model.parameters(), exact.parameters(), strict=True):
        assert ours.dtype == dtype
        assert torch.allclose(ours.double(), theirs, atol=0.02 if dtype == torch.bfloat16 else 1e-9)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rate_multiplies_the_direction_and_not_the_decay(weight_decay):
    moved = {}
    for rate in (1.0, 4.0):
        parameter = nn.Parameter(torch.ones(6, 6))
        parameter.grad = torch.eye(6)
        Muon([parameter], lr=0.1, rate=rate, weight_decay=weight_decay).step()
        moved[rate] = parameter.detach() - (1 - 0.1 * weight_decay)
    assert torch.allclose(moved[4.0], 4 * moved[1.0], atol=1e-6) and moved[1.0].abs().max() > 0.01
