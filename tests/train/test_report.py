"""The charts of a run's page."""

import pytest

from vistok.train.report import run_charts


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["noise_scale/momentum/all", "noise_scale/momentum/decoder"], ["all", "decoder"]),
        (
            ["noise_scale/batches/all", "noise_scale/momentum/all"],
            ["noise_scale/batches/all", "noise_scale/momentum/all"],
        ),
    ],
)
def test_no_two_curves_of_a_chart_have_one_name(names, labels):
    (chart,) = run_charts([{"step": step, **dict.fromkeys(names, 100.0)} for step in (10, 20)])
    assert [curve.name for curve in chart.curves] == labels
