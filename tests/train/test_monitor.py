import numpy as np
import pytest
import torch
from accelerate import Accelerator

from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.monitor import CodebookMonitor, Seen
from vistok.train.window import ScalarWindow


@pytest.fixture
def quantizer():
    return build_quantizer({"name": "residual", "depth": 2, "quantizer": {"name": "vq", "dim": 4, "codebook_size": 16}})


def seen(quantizer, seed):
    latent = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        quantized = quantizer(latent)
    return Seen(latent, quantized.latent, quantized.tokens)


def test_a_window_is_what_numpy_makes_of_its_tokens(quantizer):
    monitor = CodebookMonitor(quantizer, Accelerator())
    steps = [seen(quantizer, seed) for seed in range(3)]
    for number, step in enumerate(steps):
        monitor.observe(step, revived=number)
    values = monitor.summarise(3, steps[-1]).values
    tokens = torch.cat([step.tokens for step in steps]).numpy()
    for level in range(2):
        counts = np.bincount(tokens[:, level].ravel(), minlength=16)
        share = counts[counts > 0] / counts.sum()
        assert values[f"codebook/{level}/usage"] == pytest.approx((counts > 0).mean())
        assert values[f"codebook/{level}/perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
        assert monitor.last_counts[level].tolist() == counts.tolist()
    assert values["codebook/usage"] == pytest.approx((values["codebook/0/usage"] + values["codebook/1/usage"]) / 2)
    assert values["codebook/perplexity_share"] == pytest.approx(values["codebook/perplexity"] / 16)
    assert values["codebook/tokens"] == 3 * 18 and values["codebook/revived"] == 3
    errors = [((step.latent - step.quantized) ** 2).mean() for step in steps]
    assert values["codebook/distortion"] == pytest.approx(float(np.mean(errors)), rel=1e-5)


def check_fit(values, prefix, z, q):
    assert values[f"{prefix}/distortion"] == pytest.approx(((z - q) ** 2).mean(), rel=1e-5)
    ratios = np.linalg.norm(q, axis=1) / np.linalg.norm(z, axis=1)
    assert values[f"{prefix}/length_ratio"] == pytest.approx(ratios.mean(), rel=1e-5)
    assert values[f"{prefix}/obtuse"] == pytest.approx(((z * q).sum(axis=1) < 0).mean())


def rows(latent):
    return latent.detach().permute(0, 2, 3, 1).reshape(-1, 4).double().numpy()


def test_lengths_and_angles_are_means_over_the_window(quantizer):
    monitor = CodebookMonitor(quantizer, Accelerator())
    steps = [seen(quantizer, seed) for seed in range(3)]
    for step in steps:
        monitor.observe(step)
    values = monitor.summarise(3, steps[-1]).values
    z, q = (np.concatenate([rows(getattr(step, name)) for step in steps]) for name in ("latent", "quantized"))
    check_fit(values, "codebook", z, q)


def test_each_codebook_is_judged_by_the_latent_that_it_sees(quantizer):
    monitor = CodebookMonitor(quantizer, Accelerator())
    last = seen(quantizer, 0)
    monitor.observe(last)
    values = monitor.summarise(1, last).values
    left = rows(last.latent)
    for level in range(2):
        code = rows(quantizer.levels[level].lookup(last.tokens[:, level : level + 1]))
        check_fit(values, f"codebook/{level}", left, code)
        left = left - code


def test_there_are_no_alarms_about_a_quantizer_that_rests():
    quantizer = build_quantizer({"name": "vq", "dim": 4, "codebook_size": 4096, "initial_scale": 100.0})
    alarms = []
    for learns in (True, False):
        monitor = CodebookMonitor(quantizer.train(learns), Accelerator())
        for step in range(4):
            last = seen(quantizer, step)
            monitor.observe(last)
            alarms.append(monitor.summarise(step, last).alarms)
    assert any(alarms[:4]) and not any(alarms[4:])


def test_a_monitor_that_is_taken_up_ends_as_one_that_went_on(quantizer):
    whole, first = (CodebookMonitor(quantizer, Accelerator()) for _ in range(2))
    steps = [seen(quantizer, seed) for seed in range(4)]
    for step in steps[:2]:
        whole.observe(step)
        first.observe(step)
    second = CodebookMonitor(quantizer, Accelerator())
    second.load_state_dict(first.state_dict())
    second.load_own_state_dict(first.own_state_dict())
    for step in steps[2:]:
        whole.observe(step)
        second.observe(step)
    assert whole.summarise(4, steps[-1]) == second.summarise(4, steps[-1])
    assert torch.equal(whole.last_counts, second.last_counts)


def test_scalars_are_means_over_the_steps_that_had_them():
    window = ScalarWindow(Accelerator())
    window.add({"a": torch.tensor(1.0), "b": torch.tensor(5.0)})
    window.add({"a": torch.tensor(3.0)})
    other = ScalarWindow(Accelerator())
    other.load_own_state_dict(window.own_state_dict())
    other.add({"a": torch.tensor(5.0)})
    assert (window.steps, other.steps) == (2, 3)
    assert window.summarise() == {"a": 2.0, "b": 5.0} and window.steps == 0
    assert other.summarise() == {"a": 3.0, "b": 5.0}
