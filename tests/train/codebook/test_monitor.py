import copy
from io import BytesIO

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from quantizer_table import EVERY, latent_for, name_of
from vistok.tokenizer.model import Reconstruction
from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.codebook.code_match import match_by_codebook
from vistok.train.codebook.monitor import CodebookMonitor, QuantizerIO, quantizer_io
from vistok.train.logs.running_means import RunningMeans


@pytest.fixture
def quantizer():
    return build_quantizer({"name": "residual", "depth": 2, "quantizer": {"name": "vq", "dim": 4, "codebook_size": 16}})


def seen(quantizer, seed):
    latent = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        quantized = quantizer(latent)
    return QuantizerIO(latent, quantized.latent, quantized.tokens)


def test_a_window_is_what_numpy_makes_of_its_tokens(quantizer):
    monitor = CodebookMonitor(quantizer, Accelerator())
    steps = [seen(quantizer, seed) for seed in range(3)]
    for number, step in enumerate(steps):
        monitor.observe(step, revived=number)
    values = monitor.summarise(3, steps[-1]).values
    tokens = torch.cat([step.tokens for step in steps]).numpy()
    for level in range(2):
        counts = np.bincount(tokens[:, level].ravel(), minlength=16)
        fraction = counts[counts > 0] / counts.sum()
        assert values[f"codebook/{level}/usage"] == pytest.approx((counts > 0).mean())
        assert values[f"codebook/{level}/perplexity"] == pytest.approx(np.exp(-(fraction * np.log(fraction)).sum()))
        assert monitor.last_counts[level].tolist() == counts.tolist()
    assert values["codebook/usage"] == pytest.approx((values["codebook/0/usage"] + values["codebook/1/usage"]) / 2)
    assert values["codebook/perplexity_fraction"] == pytest.approx(values["codebook/perplexity"] / 16)
    assert values["codebook/tokens"] == 3 * 18 and values["codebook/revived"] == 3
    errors = [((step.latent - step.quantized) ** 2).mean() for step in steps]
    assert values["codebook/distortion"] == pytest.approx(float(np.mean(errors)), rel=1e-5)


def effective_rank(rows):
    energies = np.linalg.eigvalsh(np.cov(rows, rowvar=False)).clip(1e-300)
    fractions = energies / energies.sum()
    return np.exp(-(fractions * np.log(fractions)).sum())


def check_fit(values, prefix, z, q):
    assert values[f"{prefix}/distortion"] == pytest.approx(((z - q) ** 2).mean(), rel=1e-5)
    assert values[f"{prefix}/relative_distortion"] == pytest.approx(
        ((z - q) ** 2).sum() / ((z - z.mean(axis=0)) ** 2).sum(), rel=1e-5
    )
    lengths = [np.linalg.norm(rows, axis=1).mean() for rows in (q, z)]
    assert values[f"{prefix}/length_ratio"] == pytest.approx(lengths[0] / lengths[1], rel=1e-5)
    assert values[f"{prefix}/effective_rank"] == pytest.approx(effective_rank(q), rel=1e-5)
    assert values[f"{prefix}/latent_effective_rank"] == pytest.approx(effective_rank(z), rel=1e-5)
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


def test_each_codebook_is_measured_on_the_latent_that_it_sees(quantizer):
    monitor = CodebookMonitor(quantizer, Accelerator())
    last = seen(quantizer, 0)
    monitor.observe(last)
    values = monitor.summarise(1, last).values
    left = rows(last.latent)
    for level in range(2):
        code = rows(quantizer.levels[level].lookup(last.tokens[:, level : level + 1]))
        check_fit(values, f"codebook/{level}", left, code)
        left = left - code


def test_a_latent_of_length_zero_does_not_outweigh_the_others():
    quantizer = build_quantizer({"name": "vq", "dim": 4, "codebook_size": 16})
    monitor = CodebookMonitor(quantizer, Accelerator())
    latent = torch.ones(1, 4, 4, 4)
    latent[..., 0, 0] = 0
    monitor.observe(QuantizerIO(latent, torch.ones_like(latent), torch.zeros(1, 1, 4, 4, dtype=torch.int64)))
    values = monitor.summarise(1, QuantizerIO(latent, latent, torch.zeros(1, 1, 4, 4, dtype=torch.int64))).values
    assert values["codebook/length_ratio"] == pytest.approx(16 / 15)


def forward(quantizer, latent):
    result = quantizer.train()(latent)
    return Reconstruction(latent, latent, result.latent, result.tokens, result.losses)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "vq", "dim": 6, "codebook_size": 48, "gradient": "nsvq"},
        {"name": "vq", "dim": 6, "codebook_size": 48, "gradient": "diveq"},
        {"name": "fsp", "levels": [5, 4, 3]},
        {"name": "residual", "quantizer": {"name": "vq", "dim": 6, "codebook_size": 48}, "depth": 4, "dropout": 1.0},
        {"name": "residual", "quantizer": {"name": "fsp", "levels": [5, 4, 3]}, "depth": 2},
        {"name": "grouped", "quantizer": {"name": "fsp", "levels": [5, 4, 3]}, "groups": 2},
    ],
    ids=str,
)
def test_the_noise_and_the_dropout_of_training_are_not_measured(values):
    torch.manual_seed(0)
    quantizer = build_quantizer(values)
    latent = torch.randn(2, quantizer.dim, 4, 4, requires_grad=True)
    outputs = [forward(quantizer, latent[:1]), forward(quantizer, latent[1:])]
    seen = quantizer_io(quantizer, outputs)
    expected = quantizer.eval()(latent).latent
    assert torch.equal(seen.quantized, expected) and not seen.quantized.requires_grad
    assert not torch.equal(seen.quantized, torch.cat([output.quantized for output in outputs]))


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_what_is_measured_are_codes_whatever_the_quantizer(values):
    torch.manual_seed(0)
    quantizer = build_quantizer(values)
    latent = latent_for(quantizer).requires_grad_()
    before = copy.deepcopy(quantizer)  # moving averages move at the end
    output = forward(quantizer, latent)
    if quantizer.returns_codes:
        codes = before.lookup(output.tokens)
        assert torch.equal(output.quantized, codes)
        assert torch.equal(quantizer_io(quantizer, [output]).quantized, codes)


@pytest.mark.parametrize("name", ["vq", "ema", "simvq"])
def test_distortion_is_the_commitment_of_the_step(name):
    quantizer = build_quantizer({"name": name, "dim": 4, "codebook_size": 16, "gradient": "rotation"})
    output = forward(quantizer, torch.randn(2, 4, 5, 5))
    monitor, seen = CodebookMonitor(quantizer, Accelerator()), quantizer_io(quantizer, [output])
    monitor.observe(seen)
    distortion = monitor.summarise(1, seen).values["codebook/distortion"]
    assert distortion == pytest.approx(float(output.losses["commitment"].detach()), rel=1e-5)


@pytest.mark.parametrize(("directions", "heard"), [(None, 1), (8, 1), (2, 0), (3, 0)])
def test_a_plane_is_seen_whatever_the_usage_unless_the_encoder_has_no_more(directions, heard):
    torch.manual_seed(0)
    quantizer = build_quantizer({"name": "vq", "dim": 8, "codebook_size": 64}).train()
    plane = torch.randn(2, 8)
    with torch.no_grad():
        quantizer.codebook.table.copy_(torch.randn(64, 2) @ plane)
    monitor = CodebookMonitor(quantizer, Accelerator(), directions)
    alarms = []
    for step in (100, 200):
        latent = (torch.randn(1, 16, 16, 2) @ plane).permute(0, 3, 1, 2) + 0.01 * torch.randn(1, 8, 16, 16)
        last = quantizer_io(quantizer, [forward(quantizer, latent)])
        monitor.observe(last)
        window = monitor.summarise(step, last)
        alarms += window.alarms
    assert window.values["codebook/usage"] > 0.6 and window.values["codebook/effective_rank"] < 2.1
    assert len(alarms) == heard and all("of 8 directions (effective rank)" in sentence for sentence in alarms)


def test_levels_of_a_token_an_image_are_not_flat_for_want_of_vectors():
    quantizer = build_quantizer(
        {"name": "residual", "depth": 2, "quantizer": {"name": "vq", "dim": 8, "codebook_size": 64}}
    )
    monitor, alarms = CodebookMonitor(quantizer.train(), Accelerator()), []
    rng = torch.Generator().manual_seed(0)
    for step in range(100, 200):
        last = quantizer_io(quantizer, [forward(quantizer, torch.randn(4, 8, 1, 1, generator=rng))])
        monitor.observe(last)
        alarms += [sentence for sentence in monitor.summarise(step, last).alarms if "directions" in sentence]
    assert alarms == []


@pytest.mark.parametrize(
    ("values", "is_settable"),
    [
        ({"name": "vq", "dim": 8, "codebook_size": 64}, True),
        ({"name": "simvq", "dim": 8, "codebook_size": 64}, True),
        ({"name": "fvq", "dim": 8, "codebook_size": 64}, False),
        ({"name": "lfq", "dim": 10}, False),
        ({"name": "bsq", "dim": 36}, False),
        ({"name": "fsq", "levels": [8, 8, 8]}, False),
    ],
    ids=str,
)
def test_an_alarm_names_no_cure_that_the_quantizer_refuses(values, is_settable):
    quantizer = build_quantizer(values).train()
    monitor, heard = CodebookMonitor(quantizer, Accelerator()), []
    for step in (100, 200, 300):
        last = quantizer_io(quantizer, [forward(quantizer, torch.ones(1, quantizer.dim, 16, 16))])
        monitor.observe(last)
        heard += monitor.summarise(step, last).alarms
    assert any("codes are in use" in sentence or "perplexity is" in sentence for sentence in heard)
    for sentence in heard:
        assert ("codebook.initialization: kmeans" in sentence) == is_settable
        assert is_settable or "revive_every" not in sentence or "ema with codebook.revive_every" in sentence


@pytest.mark.parametrize(
    "values",
    [
        {"name": "lfq", "dim": 36},
        {"name": "bsq", "dim": 62},
        {"name": "fsq", "levels": [8] * 20},
        {"name": "residual", "quantizer": {"name": "lfq", "dim": 30}, "depth": 2},
    ],
    ids=str,
)
def test_codes_too_many_to_count_are_watched_without_false_alarms(values):
    quantizer = build_quantizer(values).train()
    monitor = CodebookMonitor(quantizer, Accelerator())
    rng = torch.Generator().manual_seed(0)
    for step in (100, 200, 300):
        latent = torch.randn(4, quantizer.dim, 8, 8, generator=rng)
        last = quantizer_io(quantizer, [forward(quantizer, latent)])
        monitor.observe(last)
        window = monitor.summarise(step, last)
        assert window.alarms == []
        used = len(torch.unique(last.tokens[:, 0])) / quantizer.vocab_size
        prefix = "codebook/0/" if quantizer.num_codebooks > 1 else "codebook/"
        assert window.values[f"{prefix}usage"] == pytest.approx(used, rel=0.02)
    assert monitor.last_counts.numel() <= 1 << 22


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


def through_a_file(state):
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_monitor_that_is_taken_up_ends_as_one_that_went_on(quantizer):
    whole, first = (CodebookMonitor(quantizer, Accelerator()) for _ in range(2))
    steps = [seen(quantizer, seed) for seed in range(4)]
    for step in steps[:2]:
        whole.observe(step)
        first.observe(step)
    second = CodebookMonitor(quantizer, Accelerator())
    second.load_state_dict(through_a_file(first.state_dict()))
    second.load_rank_state_dict(through_a_file(first.rank_state_dict()))
    for step in steps[2:]:
        whole.observe(step)
        second.observe(step)
    assert whole.summarise(4, steps[-1]) == second.summarise(4, steps[-1])
    assert torch.equal(whole.last_counts, second.last_counts)


def test_scalars_are_means_over_the_steps_that_had_them():
    window = RunningMeans(Accelerator())
    window.add({"a": torch.tensor(1.0), "b": torch.tensor(5.0)})
    window.add({"a": torch.tensor(3.0)})
    other = RunningMeans(Accelerator())
    other.load_rank_state_dict(window.rank_state_dict())
    other.add({"a": torch.tensor(5.0)})
    assert (window.steps, other.steps) == (2, 3)
    assert window.summarise() == {"a": 2.0, "b": 5.0} and window.steps == 0
    assert other.summarise() == {"a": 3.0, "b": 5.0}


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_measuring_each_codebook_draws_nothing_and_leaves_the_mode(values):
    """Or weights would depend on how often a line of the log is written."""
    quantizer = build_quantizer(dict(values)).train()
    latent = latent_for(quantizer, batch=70)  # of more than 1,024 positions mmd would draw some
    state = torch.get_rng_state()
    match_by_codebook(quantizer, latent)
    assert torch.equal(state, torch.get_rng_state()) and quantizer.training
