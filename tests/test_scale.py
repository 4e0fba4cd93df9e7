"""docs/scale.md has the numbers of the scripts."""

import json

import pytest

from commands import ROOT

SCALE = (ROOT / "docs" / "scale.md").read_text()


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")

    def load(name):
        return __import__(name)

    return load


@pytest.mark.parametrize("result, name", [("scale", "scale_numbers"), ("simulate_cluster", "simulate_cluster")])
def test_the_tables_of_the_page_are_those_of_the_scripts(script, result, name):
    found = json.loads((ROOT / "results" / f"{result}.json").read_text())
    for line in script(name).tables(found).splitlines():
        assert line in SCALE


def test_rates_are_those_that_were_measured(script):
    assert json.loads((ROOT / "results" / "scale.json").read_text())["rates"] == script("scale_numbers").rates()


def test_sidecars_have_the_size_that_was_measured(script):
    measured = json.loads((ROOT / "results" / "scale.json").read_text())["sidecar"]["bytes"]
    assert script("scale_numbers").cost_of_sidecars()["bytes"] == measured


def test_durations_and_sizes_are_in_the_unit_that_suits_them(script):
    numbers = script("scale_numbers")
    assert [numbers.duration(seconds) for seconds in (90, 120, 3600 * 30, 86400 * 365.25 * 3)] == [
        "90 seconds",
        "2 minutes",
        "30 hours",
        "3 years",
    ]
    assert [numbers.size(count) for count in (7, 4100, 2.5e13)] == ["7 B", "4.1 KB", "25 TB"]


def test_a_message_of_a_worker_costs_far_less_than_the_time_between_two(script):
    assert script("message_cost").seconds_per_message(8) < 0.001
