import pytest
import torch
from torch import nn

from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.routing import assign_parameters, build_optimizer, routing_table


def config(**more):
    return parse_config(OptimizerConfig, {"lr": 1e-3, **more}, "optimizer")


@pytest.mark.parametrize("quantizer", ["vq", "simvq"])
def test_hidden_convolutions_go_to_muon_and_the_rest_to_adamw(quantizer):
    model = small_tokenizer({"name": quantizer, "dim": 4, "codebook_size": 16})
    assignments = assign_parameters(model, config())
    muon = {assignment.name for assignment in assignments if assignment.use_muon}
    assert len(assignments) == len(list(model.parameters()))
    expected = {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim == 4 and "conv_in" not in name and "conv_out" not in name and not name.startswith("quantizer")
    }
    assert muon == expected and len(muon) > 8


def test_optimizer_holds_every_parameter_once():
    model = small_tokenizer()
    for name in ("muon", "adamw"):
        optimizer = build_optimizer(assign_parameters(model, config(name=name)), config(name=name))
        held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
        assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_decay_leaves_norms_biases_and_codes_alone():
    model = small_tokenizer()
    settings = config(weight_decay=0.1)
    optimizer = build_optimizer(assign_parameters(model, settings), settings)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim == 4), name


def test_adamw_part_is_torchs_adamw():
    model = small_tokenizer()
    ours = model.encoder.conv_in.bias
    theirs = nn.Parameter(ours.detach().clone())
    settings = config(weight_decay=0.1)
    optimizer = build_optimizer(assign_parameters(model, settings), settings)
    reference = torch.optim.AdamW([theirs], lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(5):
        gradient = torch.randn_like(ours)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        reference.step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_routing_table_counts_everything():
    model = small_tokenizer()
    rows = routing_table(assign_parameters(model, config()))
    assert sum(row[3] for row in rows) == sum(parameter.numel() for parameter in model.parameters())
    assert sum(row[2] for row in rows) == len(list(model.parameters()))
    assert [row[:2] for row in rows] == [
        ("hidden matrices of the networks", "Muon"),
        ("first and last layers", "AdamW"),
        ("norms and biases of the networks", "AdamW"),
        ("quantizer", "AdamW"),
    ]
    assert {row[1] for row in routing_table(assign_parameters(model, config(name="adamw")))} == {"AdamW"}
    own = [{"pattern": r".*\.bias", "use": "adamw"}, {"pattern": r".*(?<!\.bias)", "use": "adamw"}]
    rows = routing_table(assign_parameters(model, config(rules=own)))
    assert {row[0] for row in rows} == {rule["pattern"] for rule in own}


RULE = {"pattern": ".*", "use": "adamw"}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            [{"pattern": r".*bias", "use": "adamw"}],
            r"must match exactly one of optimizer.rules, but matches none: change",
        ),
        (
            [RULE, {"pattern": r".*bias", "use": "adamw"}],
            r"bias must match .* but matches '\.\*' and '\.\*bias': change",
        ),
        ([RULE, {"pattern": r"nothing", "use": "muon"}], r"optimizer.rules has 'nothing', which matches no parameter"),
    ],
)
def test_rules_that_do_not_partition_are_errors(rules, message):
    with pytest.raises(ValueError, match=message):
        assign_parameters(small_tokenizer(), config(rules=rules))


def test_no_matrix_for_muon_is_an_error():
    with pytest.raises(ValueError, match=r"bias of shape \(16,\) is given to Muon by '\.\*', but Muon takes matrices"):
        assign_parameters(small_tokenizer(), config(rules=[{"pattern": ".*", "use": "muon"}]))
    everything = config(name="adamw", rules=[{"pattern": ".*", "use": "muon"}])
    assert len(assign_parameters(small_tokenizer(), everything)) == len(list(small_tokenizer().parameters()))


def test_a_pattern_that_is_no_regular_expression_is_an_error():
    with pytest.raises(
        ValueError, match=r"optimizer\.rules\.0\.pattern: '\(' is not a regular expression \(.*\): correct"
    ):
        config(rules=[{"pattern": "(", "use": "muon"}])


def test_frozen_parameters_are_not_assigned_and_do_not_make_their_rule_idle():
    model = small_tokenizer()
    model.encoder.requires_grad_(False)
    rules = [{"pattern": r"encoder.*", "use": "adamw"}, {"pattern": r"(?!encoder).*", "use": "adamw"}]
    assignments = assign_parameters(model, config(rules=rules))
    assert assignments and not any(assignment.name.startswith("encoder") for assignment in assignments)


def test_scaling_and_its_rate_reach_the_optimizer():
    model = small_tokenizer()
    name, weight = next((n, p) for n, p in model.named_parameters() if n.startswith("decoder.levels") and p.ndim == 4)
    rows, columns = weight.flatten(1).shape
    sizes = {}
    for scaling, rate in [("match_rms_adamw", 1.0), ("original", 1.0), ("original", 10.0), ("rms_to_rms", 1.0)]:
        settings = config(scaling=scaling, muon_rate=rate, betas=[0.5, 0.9])
        optimizer = build_optimizer(assign_parameters(model, settings), settings)
        before = weight.detach().clone()
        torch.manual_seed(1)
        weight.grad = torch.randn_like(weight)
        optimizer.step()
        sizes[scaling, rate] = float((weight.detach() - before).norm())
    original = max(1, rows / columns) ** 0.5
    assert sizes["original", 10.0] == pytest.approx(10 * sizes["original", 1.0], rel=1e-3), name
    assert sizes["rms_to_rms", 1.0] / sizes["original", 1.0] == pytest.approx(
        (rows / columns) ** 0.5 / original, rel=1e-3
    )
    expected = 0.2 * (19 / 3) ** 0.5 * max(rows, columns) ** 0.5 / original  # (1 - b) / (1 + b) is 1/19, then 1/3
    assert sizes["match_rms_adamw", 1.0] / sizes["original", 1.0] == pytest.approx(expected, rel=1e-3)


def test_rate_follows_the_batch_size():
    settings = config(scale_lr={"rule": "sqrt", "base_batch_size": 16})
    assert settings.at_batch_size(16).lr == pytest.approx(1e-3)
    assert settings.at_batch_size(64).lr == pytest.approx(2e-3)
    assert settings.at_batch_size(64).at_batch_size(1).lr == pytest.approx(2e-3)  # scaled once
    assert config().at_batch_size(64) == config()


def test_schedule_rises_then_falls():
    settings = config(warmup=10, final_lr_ratio=0.1)
    rates = [settings.lr * settings.lr_ratio(step, 110) for step in range(1, 111)]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == pytest.approx(1e-3)
    assert rates[59] == pytest.approx((1e-3 + 1e-4) / 2)  # half way down the cosine
    assert rates[-1] == pytest.approx(1e-4)
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)
