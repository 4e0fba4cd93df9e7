"""The steps-and-examples law against a simulation, and the advice of a run."""

import html
import shlex

import numpy as np
import pytest

from runs import config
from vistok.report.content import Table
from vistok.train.batch_advice import batch_advice, critical_batch, need
from vistok.train.commands.train_tokenizer import app
from vistok.train.config_file import config_text
from vistok.train.report import last_values

LOG = {"noise_scale/momentum/all": 300.0, "curvature/ratio": 0.5, "curvature/gradient_rms": 1e-4}


def gains(gradient, hessian, deviation, batches, is_adam):
    """Draw steps at each batch, and return how much the best multiple of them lowers the loss in the mean."""
    rng, found = np.random.default_rng(0), []
    for batch in batches:
        noise = deviation / batch**0.5 * rng.standard_normal((20_000, len(gradient)))
        steps = gradient + np.concatenate([noise, -noise])
        if is_adam:
            steps = steps / np.sqrt(gradient**2 + deviation**2 / batch)
        curvatures = ((steps @ hessian) * steps).sum(axis=1)
        found.append((steps @ gradient).mean() ** 2 / (2 * curvatures.mean()))
    return found


@pytest.mark.parametrize("is_adam", [False, True])
def test_steps_go_as_one_over_what_the_best_step_gains(is_adam):
    rng = np.random.default_rng(1)
    signs, batches = rng.choice([-1.0, 1.0], 12), (4, 16, 256)
    gradient = signs * rng.uniform(0.5, 1.5, 12)
    hessian = np.diag(rng.uniform(0.5, 1.5, 12)) + 0.2 * np.outer(signs, signs)
    off = signs @ hessian @ signs - np.trace(hessian)
    deviation = 6 * np.abs(gradient)
    if is_adam:
        critical = critical_batch("adamw", 36.0, (np.trace(hessian) / off) ** 0.5)
    else:
        critical = np.sum(deviation**2 * np.diag(hessian)) / (gradient @ hessian @ gradient)
    first, *others = gains(gradient, hessian, deviation, batches, is_adam)
    for batch, gain in zip(batches[1:], others, strict=True):
        law = need(4, batch, critical)
        assert law.steps == pytest.approx(first / gain, rel=0.03)
        assert law.images == pytest.approx(law.steps * batch / 4)


@pytest.mark.parametrize("batch", [1, 20, 300, 5000])
def test_steps_and_images_are_a_hyperbola(batch):
    critical = 300.0
    to_batch = need(1e12, batch, critical).steps  # S / S_min, for an infinite batch needs the least steps
    to_images = need(1e-9, batch, critical).images  # E / E_min
    assert (to_batch - 1) * (to_images - 1) == pytest.approx(1, rel=1e-6)


def test_the_sentence_of_the_law():
    assert need(16, 64, critical_batch("muon", 16.0)) == (0.625, 2.5)
    assert critical_batch("muon", 16.0) == critical_batch("adamw", 16.0) == 16


@pytest.mark.parametrize(("scale", "size"), [(1234.5, "1,234 images"), (0.6, "1 image"), (0.3, "less than one image")])
def test_the_batch_of_twice_the_minimum_is_never_0(tmp_path, scale, size):
    advice = batch_advice({"noise_scale/batches/all": scale}, config(tmp_path))
    assert advice.sentence.endswith(f" Both would be twice their minimum at {size} per step.")


def test_adams_critical_batch_falls_with_the_curvature_off_the_diagonal():
    assert critical_batch("adamw", 300.0, 0.5) == pytest.approx(60) and critical_batch("muon", 300.0, 0.5) == 300
    assert critical_batch("adamw", 300.0, 1e6) == pytest.approx(300)


def test_the_noise_scale_of_batches_comes_first(tmp_path):
    both = batch_advice({**LOG, "noise_scale/batches/all": 80.0}, config(tmp_path)).overrides
    assert "noise_scale: 80, curvature_ratio: 0.5, gradient_rms: 0.0001}" in both
    assert "noise_scale: 300," in batch_advice(LOG, config(tmp_path)).overrides


def test_a_measured_curvature_comes_before_all_and_the_momentum_is_a_bound(tmp_path):
    """tr(S H) / g H g is B_crit itself; the noise of the momentum is said to be no more than a bound."""
    measured = batch_advice({**LOG, "curvature/noise_scale": 12.0}, config(tmp_path)).sentence
    assert measured.startswith("At 4x this batch of 4 images: about 0.44x the steps and 1.8x the images. Both ")
    bound = batch_advice(LOG, config(tmp_path)).sentence
    assert "at least 0.26x the steps and 1x the images. These are lower bounds; " in bound and bound.endswith(
        "set diagnostics.curvature_every for closer ones."
    )


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_the_advice_is_a_valid_override(tmp_path, name):
    run = config(tmp_path, f"optimizer.name={name}", "optimizer.betas=[0.8, 0.95]")
    sentence, _, overrides = batch_advice(LOG, run)
    assert sentence.startswith(f"At 4x this batch of {run.data.batch_size} images: at least 0.")
    again = config(tmp_path, f"optimizer.name={name}", "optimizer.betas=[0.8, 0.95]", *shlex.split(overrides))
    same, larger = (again.optimizer.at_batch_size(batch) for batch in (run.data.batch_size, 64))
    assert same.lr == pytest.approx(run.optimizer.lr) and same.muon_rate == pytest.approx(run.optimizer.muon_rate)
    assert larger.lr != pytest.approx(run.optimizer.lr)


def test_a_scaled_run_advises_from_its_own_learning_rates(tmp_path):
    scaled = "optimizer.scale_lr={rule: best_step, base_batch_size: 2, noise_scale: 50}"
    run = config(tmp_path, scaled)
    here = run.optimizer.at_batch_size(run.data.batch_size)
    again = config(tmp_path, *shlex.split(batch_advice(LOG, run).overrides)).optimizer.at_batch_size(
        run.data.batch_size
    )
    assert (again.lr, again.muon_rate) == pytest.approx((here.lr, here.muon_rate), rel=1e-3)


def test_the_table_of_the_report(tmp_path):
    run = config(tmp_path)
    needs = batch_advice(LOG, run).table
    assert isinstance(needs, Table) and [row[0] for row in needs.rows] == ["1", "2", "8", "16", "32"]
    assert len(needs.header) == 5 == len(needs.rows[0])
    steps, images = need(4, 16, 300.0)
    assert needs.rows[3][1:3] == [f"{steps:.2f} x", f"{images:.2f} x"]
    assert batch_advice({"loss/total": 1.0}, run) is None


def test_the_advice_is_on_the_console_and_in_the_report(tmp_path, capsys):
    run = config(tmp_path, "diagnostics.noise_every=1", "data.batch_size=8", steps=6)
    (tmp_path / "run.yaml").write_text(config_text(run))
    with pytest.raises(SystemExit) as ended:
        app([str(tmp_path / "run.yaml")])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    advice = batch_advice(last_values(tmp_path), run)
    assert f"batch       {advice.sentence}" in said and f"add {advice.overrides}" in said
    page = (tmp_path / "report.html").read_text()
    assert (
        advice.sentence in page and html.escape(advice.overrides) in page and "Curvature along directions" not in page
    )
