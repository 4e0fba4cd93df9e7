"""The EMA of the weights."""

import torch

from vistok.train.optimizer.skipping import TAKEN, Decision
from vistok.train.weight_ema import WeightEMA


def test_the_average_follows_its_recurrence_in_float64():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    ema = WeightEMA(model, 0.9)
    expected = None
    for step in range(40):
        with torch.no_grad():
            model[0].weight.normal_()
            model[1].running_mean.normal_()
        ema.update(model)
        decay = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        now = model[0].weight.double()
        expected = now.clone() if expected is None else decay * expected + (1 - decay) * now
    assert torch.allclose(ema.model[0].weight.double(), expected, atol=1e-5)
    assert torch.equal(ema.model[1].running_mean, model[1].running_mean) and ema.updates == 40


def test_frozen_weights_keep_their_bits():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    torch.nn.init.constant_(model[0].requires_grad_(False).weight, -0.0)
    ema = WeightEMA(model, 0.999)
    for decision in [TAKEN, *[Decision(False, torch.tensor(value)) for value in (False, True)]] * 20:
        ema.update(model, decision)
    assert torch.equal(ema.model[0].weight.view(torch.int32), model[0].weight.view(torch.int32))
    assert ema.model[0].weight.signbit().all()


def test_a_model_without_trained_weights_has_its_buffers_copied():
    model = torch.nn.BatchNorm1d(2).requires_grad_(False)
    ema = WeightEMA(model, 0.9)
    model.running_mean.fill_(3)
    ema.update(model)
    assert torch.equal(ema.model.running_mean, model.running_mean)
