"""The script that compares recipes of distillation on a mixture: its teacher, its measures, its results."""

import json

import pytest
import torch

from commands import ROOT
from gaussian_mixtures import mixture


@pytest.fixture
def target(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from mixture import target

    return target


def test_its_teacher_is_exact(target):
    widths = [[[target.WIDTH, 0.0], [0.0, target.WIDTH]]] * target.MODES
    exact = mixture(target.PROBABILITIES.tolist(), target.CENTRES.tolist(), widths)
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    times = torch.linspace(0.02, 1, 50)
    expected = exact.expected_residual(z.double(), times.double())
    torch.testing.assert_close(target.expected_residual(z, times).double(), expected, rtol=1e-4, atol=1e-4)


def test_what_it_measures_of_the_target_itself(target):
    samples = target.draw(20_000, torch.Generator().manual_seed(0))
    facts = {key: float(value) for key, value in target.mode_statistics(samples).items()}
    assert facts == pytest.approx({"modes": 8, "near": 0.989, "width": 1, "spread": 1}, abs=0.01)
    moved = samples + torch.tensor([0.3, 0.0])
    # A shift by s moves the projection on a direction at angle a by s |cos a|, of mean 2 s / pi.
    assert float(target.sliced_distance(moved, samples)) == pytest.approx(0.6 / torch.pi, rel=1e-2)


def test_runs_of_other_settings_are_not_gone_on_with(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from matching_on_mixture import main

    path = str(ROOT / "results" / "matching_on_mixture.json")
    for other in (["--seeds", "4"], ["--steps", "150"]):
        monkeypatch.setattr("sys.argv", ["matching_on_mixture.py", "--out", path, *other])
        with pytest.raises(
            SystemExit, match="holds runs of other settings: remove it, or name another file with --out"
        ):
            main()


def test_the_results_are_of_its_settings(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from matching_on_mixture import RECIPES, SETTINGS

    results = json.loads((ROOT / "results" / "matching_on_mixture.json").read_text())
    assert results["settings"] == {name: setting._asdict() for name, setting in SETTINGS.items()}
    rows = [(run["setting"], run["recipe"], run["seed"]) for run in results["runs"]]
    assert rows == [(name, recipe, seed) for name in SETTINGS for recipe in RECIPES for seed in range(results["seeds"])]
