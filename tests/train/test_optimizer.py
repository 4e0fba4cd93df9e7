import pytest
import torch
from torch import nn

from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.train.optimizer import OptimizerConfig, build_optimizer, claim_parameters, routing_table
from vistok.train.schedule import learning_rate


def config(**more):
    return parse_config(OptimizerConfig, {"lr": 1e-3, **more}, "optimizer")


@pytest.mark.parametrize("quantizer", ["vq", "simvq"])
def test_hidden_convolutions_go_to_muon_and_the_rest_to_adamw(quantizer):
    model = small_tokenizer({"name": quantizer, "dim": 4, "codebook_size": 16})
    claims = claim_parameters(model, config())
    muon = {claim.name for claim in claims if claim.rule.use == "muon"}
    assert len(claims) == len(list(model.parameters()))
    expected = {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim == 4 and "conv_in" not in name and "conv_out" not in name and not name.startswith("quantizer")
    }
    assert muon == expected and len(muon) > 8


def test_optimizer_holds_every_parameter_once():
    model = small_tokenizer()
    for name in ("muon", "adamw"):
        optimizer = build_optimizer(claim_parameters(model, config(name=name)), config(name=name))
        held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
        assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_decay_leaves_norms_biases_and_codes_alone():
    model = small_tokenizer()
    settings = config(weight_decay=0.1)
    optimizer = build_optimizer(claim_parameters(model, settings), settings)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim == 4), name


def test_adamw_part_is_torchs_adamw():
    torch.manual_seed(0)
    start = torch.randn(6)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    module = nn.Module()
    module.encoder = nn.Module()
    module.encoder.register_parameter("bias", ours)
    settings = config(weight_decay=0.1)
    optimizer = build_optimizer(claim_parameters(module, settings), settings)
    reference = torch.optim.AdamW([theirs], lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(5):
        gradient = torch.randn(6)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        reference.step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_routing_table_counts_everything():
    model = small_tokenizer()
    rows = routing_table(claim_parameters(model, config()), config())
    assert sum(row[3] for row in rows) == sum(parameter.numel() for parameter in model.parameters())
    assert {row[1] for row in routing_table(claim_parameters(model, config()), config(name="adamw"))} == {"AdamW"}


RULE = {"pattern": ".*", "use": "adamw"}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [{"pattern": r".*bias", "use": "adamw"}],
            r"must be claimed by exactly one of optimizer.rules, but none claim it",
        ),
        (
            [RULE, {"pattern": r".*bias", "use": "adamw"}],
            r"bias must be claimed by .* but '\.\*' and '\.\*bias' claim it",
        ),
        ([RULE, {"pattern": r"nothing", "use": "muon"}], r"optimizer.rules has 'nothing', which claims no parameter"),
    ],
)
def test_rules_that_do_not_partition_are_errors(rules, message):
    with pytest.raises(ValueError, match=message):
        claim_parameters(small_tokenizer(), config(rules=rules))


def test_schedule_rises_then_falls():
    settings = config(warmup=10, final_lr=0.1)
    rates = [learning_rate(step, 110, settings) for step in range(1, 111)]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == pytest.approx(1e-3)
    assert rates[59] == pytest.approx((1e-3 + 1e-4) / 2)  # half way down the cosine
    assert rates[-1] == pytest.approx(1e-4)
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)
