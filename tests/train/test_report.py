"""The charts of a run's page, and what a fine-tuning's table says of sizes."""

import pytest

from vistok.train.finetune.report import _size
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


@pytest.mark.parametrize(
    ("codes", "size"), [(64_800, "64,800"), (1 << 20, "1,048,576"), (1 << 62, "2^62"), (7**12, "13,841,287,201")]
)
def test_a_size_fits_the_column_of_a_table(codes, size):
    assert _size(codes) == size
