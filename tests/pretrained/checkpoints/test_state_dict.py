"""The weights are found wherever training programs store them."""

import argparse

import pytest
import torch
from safetensors.torch import save_file

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


ONE = torch.ones(1)
BESIDE = "beside those of the state dict"


@pytest.mark.parametrize("trusts", [False, True])
@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ({16**4000: ONE}, r"under a key that is no text \(of the type int\)"),
        ({("a", 1): ONE}, r"under a key that is no text \(of the type tuple\)"),
        ({b"a": ONE}, r"under a key that is no text \(of the type (bytes|object)\)"),
        ({1.5: [ONE]}, r"under a key that is no text \(of the type float\)"),
        ({"x" * 1001: ONE}, r"with a name of more than 1000 characters, x+\.\.\.x+"),
        ({"extra": {"w": ONE}}, rf"within extra, {BESIDE}"),
        ({"extra": [1, (2, ONE)]}, rf"within extra, {BESIDE}"),
        ({"extra": {"state": ONE}}, rf"within extra, {BESIDE}"),
    ],
)
@pytest.mark.parametrize("around", [None, "model"])
def test_no_tensor_is_lost_silently(lost, said, around, trusts, tmp_path):
    content = WEIGHTS | lost
    torch.save({around: content} if around else content, tmp_path / "a.pt")
    sentence = rf"a\.pt has a tensor {said}: save the state dict alone, with every tensor by its name\.$"
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / "a.pt", trust_pickle=trusts)


@pytest.mark.parametrize("trusts", [False, True])
def test_what_is_no_tensor_may_have_any_key(trusts, tmp_path):
    beside = {16**4000: 1, ("a", 1): "b", b"a": [1], "x" * 2000: None, "hyper": {"lr": 1.0}, "optimizer": STATE}
    torch.save({"model": WEIGHTS | beside, 16**4000: WEIGHTS}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt", trust_pickle=trusts).tensors.keys() == WEIGHTS.keys()


@pytest.mark.parametrize("trusts", [False, True])
@pytest.mark.parametrize("content", [[WEIGHTS], ONE, (ONE, 3), {("a",): ONE}])
def test_tensors_without_names_need_no_code(content, trusts, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    sentence = (
        r"a\.pt holds tensors, but not by names that are text, as a state dict does: save the state dict itself\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / "a.pt", trust_pickle=trusts)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("trusts", [False, True])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.ones(2, dtype=torch.complex64), "complex"),
        (lambda: torch.ones(2, dtype=torch.complex128), "complex"),
        (lambda: torch.eye(2).to_sparse(), "sparse"),
        (lambda: torch.eye(2).to_sparse_csr(), "sparse"),
        (lambda: torch.ones(2, device="meta"), r"without values \(meta\)"),
        (lambda: torch.nested.nested_tensor([torch.ones(2)]), "nested"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantized"),
    ],
)
def test_tensors_of_other_kinds_say_which(make, kind, trusts, tmp_path):
    torch.save(WEIGHTS | {"odd": make()}, tmp_path / "a.pt")
    sentence = (
        rf"a\.pt has the tensor odd, which is {kind}: save it as a dense tensor of real numbers, or leave it out\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        read_checkpoint(tmp_path / "a.pt", trust_pickle=trusts)


def test_a_complex_tensor_of_safetensors_says_that_it_is(tmp_path):
    save_file(WEIGHTS | {"odd": torch.ones(2, dtype=torch.complex64)}, tmp_path / "a.safetensors")
    with pytest.raises(
        ValueError, match=r"a\.safetensors has the tensor odd, which is complex: save it as a dense tensor"
    ):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_hundred_thousand_names_of_one_list_are_looked_through_once(tmp_path):
    shared = list(range(20_000))
    torch.save(WEIGHTS | {f"k{index}": shared for index in range(100_000)}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").tensors.keys() == WEIGHTS.keys()
