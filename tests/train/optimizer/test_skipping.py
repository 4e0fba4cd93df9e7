"""A step that the device skips changes nothing; one that it does not skip is the same as without the question."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from vistok.train.optimizer.muon import Muon

SHAPES = [(6, 4, 3, 3), (6, 4, 3, 3), (8, 5), (7,), ()]
KINDS = {
    "muon": [{"params": [0, 1, 2], "use_muon": True}, {"params": [3, 4], "use_muon": False}],
    "adamw": [{"params": [0, 1, 2, 3, 4], "use_muon": False}],
    "lazy": [{"params": [0, 2], "use_muon": False, "lazy": True}, {"params": [1, 3, 4], "use_muon": False}],
}


def optimizer_of(parameters, kind, second_moment, memory_format):
    groups = [{**group, "params": [parameters[index] for index in group["params"]]} for group in KINDS[kind]]
    return Muon(groups, lr=0.05, weight_decay=0.1, second_moment=second_moment)


def started(memory_format):
    torch.manual_seed(0)
    formats = [memory_format if len(shape) == 4 else torch.contiguous_format for shape in SHAPES]
    return [nn.Parameter(torch.randn(s).contiguous(memory_format=f)) for s, f in zip(SHAPES, formats, strict=True)]


def give(parameters, seed, value=None):
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(
            gradient if value is None else torch.full_like(gradient, value)
        )


def everything(parameters, optimizer):
    states = [
        value for p in parameters for _, value in sorted(optimizer.state[p].items()) if isinstance(value, torch.Tensor)
    ]
    return [tensor.detach().clone() for tensor in [*parameters, *states]]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"])
@pytest.mark.parametrize("second_moment", ["raw", "centred"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_skipped_steps_change_nothing_and_others_are_as_usual(kind, second_moment, memory_format):
    plain, skipping = started(memory_format), started(memory_format)
    usual = optimizer_of(plain, kind, second_moment, memory_format)
    gated = optimizer_of(skipping, kind, second_moment, memory_format)
    for step, bad in enumerate([None, None, float("nan"), float("inf"), None]):
        before = everything(skipping, gated)
        give(skipping, step, bad)
        gated.skip = torch.tensor(bad is not None)
        gated.step()
        if bad is None:
            give(plain, step)
            usual.step()
            for ours, theirs in zip(skipping, plain, strict=True):
                torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)
        else:
            steps_of_muon = [state["step"] for p in skipping if "momentum_buffer" in (state := gated.state[p])]
            for old, new in zip(before, everything(skipping, gated), strict=True):
                counted = any(torch.equal(new, step) for step in steps_of_muon) and new.ndim == 0
                assert counted or torch.equal(old, new)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("second_moment", ["raw", "centred"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_step_on_a_gpu_does_not_wait_and_skips(kind, second_moment):
    parameters = [nn.Parameter(each.detach().cuda()) for each in started(torch.contiguous_format)]
    optimizer = optimizer_of(parameters, kind, second_moment, None)
    skips = torch.tensor([False, False, True], device="cuda")
    for step, skip in enumerate(skips.unbind()):
        give(parameters, step)
        before = everything(parameters, optimizer)[: len(parameters)]
        optimizer.skip = skip
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(old, new) for old, new in zip(before, parameters, strict=True))


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_a_state_saved_in_another_memory_format_goes_on_as_it_was(kind):
    """As when a run that began on a CPU, channels last, resumes on a GPU."""
    before, after = started(torch.channels_last), started(torch.contiguous_format)
    ended, resumed = (optimizer_of(each, kind, "raw", None) for each in (before, after))
    for step in range(4):
        if step == 2:
            resumed.load_state_dict(deepcopy(ended.state_dict()))
            for old, new in zip(before, after, strict=True):
                new.data.copy_(old.data)
        for parameters, optimizer in [(before, ended), (after, resumed)][: 1 if step < 2 else 2]:
            give(parameters, step)
            optimizer.skip = torch.tensor(False)
            optimizer.step()
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, atol=1e-5, rtol=1e-5)
    for parameter in after:
        for value in resumed.state[parameter].values():
            assert value.shape != parameter.shape or value.stride() == parameter.stride()
