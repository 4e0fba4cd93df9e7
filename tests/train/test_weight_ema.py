"""The EMA of the weights."""

import torch

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
