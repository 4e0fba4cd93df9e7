"""The weights are found wherever training programs store them."""

import argparse

import pytest
import torch

from vistok.pretrained.importers.checkpoint import read_checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}
STATE = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1.0}]}


@pytest.mark.parametrize(
    ("content", "found_at"),
    [
        (WEIGHTS, ""),
        ({"model": WEIGHTS, "optimizer": STATE, "steps": 3}, "model"),
        ({"state_dict": WEIGHTS, "args": argparse.Namespace(lr=1.0)}, "state_dict"),
        ({"model": {"a.weight": torch.zeros(1)}, "ema": WEIGHTS, "optimizer": STATE}, "ema"),
        ({"model": {"a.weight": torch.zeros(1)}, "ema": {"decay": 0.9}, "optimizer": STATE}, "model"),
        ({"ema": {"a.weight": torch.zeros(1)}, "model": WEIGHTS | {"c": torch.ones(1)}}, "model"),
        ({"ema": {"a.weight": torch.zeros(1)}, "module": WEIGHTS | {"c": torch.ones(1)}}, "module"),
        ({"model": {"state_dict": WEIGHTS, "version": "1"}}, "model.state_dict"),
        (
            {"trainer": {"unitok": WEIGHTS, "disc": {"d": torch.ones(1)}, "disc_opt": STATE}, "args": {}},
            "trainer.unitok",
        ),
        ({"vqgan": WEIGHTS, "config": {"layers": [1, 2]}}, "vqgan"),
        ({"state_dict": {f"module.{name}": value for name, value in WEIGHTS.items()}}, "state_dict"),
        ({f"module._orig_mod.{name}": value for name, value in WEIGHTS.items()}, ""),
    ],
)
def test_weights_are_found_in_what_training_programs_write(content, found_at, tmp_path):
    """Averaged weights come first, if they are whole: projects that store them evaluate them (LlamaGen, UniTok)."""
    torch.save(content, tmp_path / "a.ckpt")
    checkpoint = read_checkpoint(tmp_path / "a.ckpt", wrappers=["unitok"])
    expected = content[found_at] if "ema" in content else WEIGHTS
    assert checkpoint.tensors.keys() == expected.keys() and checkpoint.found_at == found_at
    assert all(torch.equal(checkpoint.tensors[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    "content",
    [{}, [1, 2], {"epoch": 3}, {"model": 3}],
)
def test_a_file_without_tensors(content, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    sentence = (
        r"a\.pt holds no tensors, neither by themselves nor under ema, state_dict, model, module, trainer, mine: give the file "
        r"of the weights\.$"
    )
    for trusts in (False, True):  # plain data has no code that could make tensors
        with pytest.raises(ValueError, match=sentence):
            read_checkpoint(tmp_path / "a.pt", trusts, ["mine"])


def test_a_file_whose_code_may_make_tensors(tmp_path):
    torch.save({"model": argparse.Namespace(lr=1.0)}, tmp_path / "a.pt")
    sentence = (
        r"a\.pt holds no tensors that can be read without running its code, neither by themselves nor under ema, state_dict, "
        r"model, module, trainer: give the file of the weights, or add --trust-pickle where you trust it\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("around", [[], ["model"], ["nets"]])
@pytest.mark.parametrize("trusts", [False, True])
def test_a_file_with_several_models_names_their_keys(around, trusts, tmp_path):
    content = {"generator": WEIGHTS, "discriminator": {"c": torch.ones(1)}, "epoch": 3}
    for key in around:
        content = {key: content}
    torch.save(content, tmp_path / "a.pt")
    keys = ", ".join(".".join([*around, name]) for name in ("generator", "discriminator"))
    sentence = (
        rf"a\.pt holds tensors under several keys \({keys}\): save those of the tokenizer in a file of their own\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / "a.pt", trust_pickle=trusts)


@pytest.mark.parametrize("trusts", [False, True])
def test_keys_that_are_huge_numbers_are_passed_over(trusts, tmp_path):
    torch.save({"model": WEIGHTS | {16**4000: torch.ones(1)}, 16**4000: WEIGHTS}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt", trust_pickle=trusts).tensors.keys() == WEIGHTS.keys()
