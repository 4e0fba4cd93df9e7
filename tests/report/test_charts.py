import math
import re

import numpy as np
import pytest
import torch

from pages import INFINITY, NAN, curve, page_of, readouts
from vistok.report.axes import Axis, count_axis, number, ticks, value_axis
from vistok.report.content import Chart, Curve
from vistok.report.curves import LIMIT, runs, thin, trend


def test_a_gap_splits_the_line_and_a_lonely_value_is_a_dot():
    page = page_of(Chart("c", [curve(values=[1, 2, NAN, 4, INFINITY, 6, 7, 8])]))
    assert [len(line["points"].split()) for line in page.all("polyline")] == [2, 3]
    assert len(page.all("circle")) == 1
    assert "2 not drawn" in page.text
    assert [value for _, value in readouts(page)[0]["curves"][0]] == [1, 2, None, 4, None, 6, 7, 8]


def test_a_log_scale_leaves_out_what_it_cannot_draw():
    values = [0.0, 1.0, 10.0, -1.0, 100.0, 10.0]
    assert len(page_of(Chart("c", [curve(values=values)])).all("polyline")) == 1
    page = page_of(Chart("c", [curve(values=values)], log_scale=True))
    assert [len(line["points"].split()) for line in page.all("polyline")] == [2, 2]


def test_lines_are_where_the_values_are():
    (line,) = page_of(Chart("c", [curve(values=[0.0, 50.0, 100.0])])).all("polyline")
    assert line["points"] == "0,10000 5000,5000 10000,0"
    (line,) = page_of(Chart("c", [curve(values=[1.0, 10.0, 100.0])], log_scale=True)).all("polyline")
    heights = [int(point.split(",")[1]) for point in line["points"].split()]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=1)


@pytest.mark.parametrize(("log", "values"), [(False, []), (False, [NAN, INFINITY]), (True, [0.0, -1.0])])
def test_a_chart_without_values_says_so(log, values):
    page = page_of(Chart("c", [curve(values=values)], log_scale=log))
    assert "There is no value to draw" in page.text and not page.all("polyline")


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    "values", [[3.0], [3.0, 3.0], [1e-30, 1e30], [1e-12, 2e-12], [5e9, 6e9], [0.1234567, 0.1234568]]
)
def test_any_range_of_values_is_drawn_inside_the_frame(log, values):
    page = page_of(Chart("c", [curve(values=values)], log_scale=log))
    for line in page.all("polyline"):
        assert all(0 <= int(part) <= 10_000 for point in line["points"].split() for part in point.split(","))
    assert "nan" not in page.text and len(page.all("text")) >= 4


def test_steps_are_drawn_in_order():
    page = page_of(Chart("c", [Curve("c", [30, 10, 20], [3.0, 1.0, 2.0])]))
    assert readouts(page)[0]["curves"] == [[[10, 1.0], [20, 2.0], [30, 3.0]]]


def test_a_noisy_curve_has_a_trend_and_a_smooth_one_has_none():
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0)).tolist()
    page = page_of(Chart("c", [curve(values=noise)]))
    assert len(page.all("polyline")) == 2 and "line: mean of 25 values" in page.text
    page = page_of(Chart("c", [curve(values=[step**0.5 for step in range(1000)])]))
    assert len(page.all("polyline")) == 1 and "mean of" not in page.text


def test_the_trend_is_the_mean_of_the_finite_values_around():
    values = np.random.default_rng(0).normal(size=400)
    values[[5, 6, 200]] = NAN
    means, window = trend(values, np.arange(400))
    assert window == 11
    for index in (0, 3, 100, 199, 399):
        assert means[index] == pytest.approx(np.nanmean(values[max(0, index - 5) : index + 6]))
    assert np.isnan(means[[5, 6, 200]]).all()


@pytest.mark.parametrize("length", [1, 2, LIMIT, LIMIT + 1, 999, 5000, 123_457])
@pytest.mark.parametrize("gaps", [0, 3])
def test_thinning_keeps_ends_and_extremes(length, gaps):
    generator = np.random.default_rng(length)
    values = generator.normal(size=length)
    if length > 2 * gaps + 2:
        values[1 + generator.permutation(length - 2)[:gaps]] = NAN
    kept = thin(values)
    assert len(kept) <= LIMIT and (np.diff(kept) > 0).all()
    assert kept[0] == 0 and kept[-1] == length - 1
    assert np.nanmin(values[kept]) == np.nanmin(values) and np.nanmax(values[kept]) == np.nanmax(values)
    assert np.isnan(values[kept]).any() == np.isnan(values).any()


def test_few_values_are_all_kept():
    assert thin(np.zeros(LIMIT)).tolist() == list(range(LIMIT))


def test_runs_are_the_finite_stretches():
    values = [NAN, 1, 2, NAN, NAN, 3, INFINITY, 4, 5]
    joined = "".join("x" if math.isfinite(value) else " " for value in values)
    expected = [slice(*match.span()) for match in re.finditer("x+", joined)]
    assert runs(np.array(values)) == expected


@pytest.mark.parametrize("high", [1e-6, 0.013, 1.0, 7.3, 999.0, 12_345.0, 3.3e6, 4e11])
def test_ticks_are_few_inside_and_evenly_spaced(high):
    marks = ticks(value_axis(np.array([0.0, high]), log=False))
    values = np.array([tick.value for tick in marks])
    assert 3 <= len(values) <= 8 and values[0] == 0 and values[-1] >= high * (1 - 1e-9)
    assert np.allclose(np.diff(values), values[1])
    assert len({tick.label for tick in marks}) == len(marks)


@pytest.mark.parametrize(("high", "labels"), [(800, "0 200 400 600 800"), (0.5, "0 0.1 0.2 0.3 0.4 0.5")])
def test_tick_labels(high, labels):
    assert " ".join(tick.label for tick in ticks(Axis(0, high))) == labels


def test_thousands_and_powers_of_ten_are_short():
    assert [tick.label for tick in ticks(Axis(0, 20_000))] == ["0", "5k", "10k", "15k", "20k"]
    assert [tick.label for tick in ticks(Axis(0, 3e-6))][-1] == "3.0·10⁻⁶"
    assert [tick.label for tick in ticks(Axis(0.5, 2e4, log=True))] == ["1", "10", "100", "1,000", "10k"]
    assert [tick.label for tick in ticks(Axis(1e-5, 1e-2, log=True))][:3] == ["10⁻⁵", "10⁻⁴", "0.001"]


def test_steps_are_marked_by_whole_numbers():
    assert [tick.label for tick in ticks(count_axis(3, 5), whole=True)] == ["3", "4", "5"]
    assert [tick.label for tick in ticks(count_axis(7, 7), whole=True)] == ["6", "7", "8"]


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (24.314, "24.31"), (-1234.5, "-1,234"), (3e-5, "3e-5"), (1.2346e-7, "1.235e-7"), (NAN, "not finite")],
)
def test_numbers_are_written_with_four_digits(value, written):
    assert number(value) == written
