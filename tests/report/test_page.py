import base64
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from samples import noise_image
from vistok.report.axes import Axis, count_axis, number, ticks, value_axis
from vistok.report.codebooks import rank_bars
from vistok.report.codemap import SHADES, SHOWN, shades_of_use
from vistok.report.content import Chart, CodebookView, Comparison, Curve, Report, Table
from vistok.report.curves import LIMIT, runs, thin, trend
from vistok.report.page import render
from vistok.report.pictures import data_url
from vistok.report.projection import project

VOID = {"meta", "img", "input", "br", "link"}
NASTY = "<b onclick='x'>&\"</script>"
NAN, INFINITY = float("nan"), float("inf")


class Page(HTMLParser):
    """The elements and texts of a page; every element that is opened must be closed."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.blocks: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        (self.blocks if self._open[-1:] in (["script"], ["style"]) else self.texts).append(text)


def curve(name: str = "training", values: list[float] | None = None) -> Curve:
    values = [1.0, 0.5, 0.25] if values is None else values
    return Curve(name, [10 * step for step in range(len(values))], values)


def full_report() -> Report:
    counts = np.array([7, 0, 3, 0, 90])
    return Report(
        title="A run",
        subtitle="of 1,176 pictures",
        figures={"PSNR": "24.31 dB", "SSIM": "0.7312", "usage": "86.9%", "device": "one card"},
        notes=["Half of the codes are dead."],
        charts=[
            Chart("loss", [curve(values=[1.0, 0.5, 0.31415]), curve("validation", [2.0, 1.5, 1.2])], log_scale=True),
            Chart("psnr", [curve("psnr", [21.25])]),
        ],
        codebooks=[
            CodebookView("learned", counts, np.random.default_rng(0).normal(size=(5, 3))),
            CodebookView("computed", counts, None),
        ],
        comparisons=[Comparison("a cat", noise_image(64, 48), noise_image(64, 48, seed=1))],
        tables={"Others": Table(["name", "PSNR"], [["that", "25.5"], ["this", "24.25"]])},
        config="run:\n  steps: 20000\n",
        environment={"torch": "2.9.1"},
    )


def page_of(*charts: Chart) -> Page:
    return Page(render(Report("t", charts=charts)))


def readouts(page: Page) -> list[dict]:
    return [json.loads(block) for block in page.blocks if block.startswith("{")]


# The page


def test_every_number_and_word_of_the_report_is_on_the_page():
    report, page = full_report(), Page(render(full_report()))
    words = [report.title, report.subtitle, *report.figures, *report.figures.values(), *report.notes, report.config]
    words += [
        cell for title, table in report.tables.items() for row in [[title], table.header, *table.rows] for cell in row
    ]
    words += [*report.environment, *report.environment.values(), *(pair.label for pair in report.comparisons)]
    words += [word for chart in report.charts for word in [chart.title, *(each.name for each in chart.curves)]]
    for word in words:
        assert word in page.text
    drawn = [[value for _, value in points] for block in readouts(page)[:2] for points in block["curves"]]
    assert drawn == [list(each.values) for chart in report.charts for each in chart.curves]
    for last in ("0.3141", "1.2", "21.25"):
        assert last in page.text


def test_usage_of_each_codebook_is_written():
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.array([5, 5, 0, 0]))])))
    for fact in ("50.0%", "2 of 4 codes", "2.0", "of 4 at even use", "2 codes", "10counted"):
        assert fact in page.text


def test_fewer_tokens_than_codes_is_said():
    assert "fewer than codes" in Page(render(Report("t", codebooks=[CodebookView("c", np.array([1, 1, 0]))]))).text


def test_an_empty_report_is_a_page():
    page = Page(render(Report("Nothing")))
    assert page.text.count("Nothing") == 2
    assert not [tag for tag, _ in page.elements if tag in ("section", "nav", "figure", "img", "table")]


def test_equal_reports_give_equal_bytes():
    assert render(full_report()) == render(full_report())


def test_nothing_is_loaded_from_elsewhere():
    html = render(full_report())
    for _, attributes in Page(html).elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", html)


def test_every_text_is_escaped():
    counts = np.array([1, 2])
    report = Report(
        NASTY,
        NASTY,
        {NASTY: NASTY},
        [NASTY],
        [Chart(NASTY, [curve(NASTY)]), Chart(NASTY, [])],
        [CodebookView(NASTY, counts, np.eye(2)), CodebookView(NASTY, counts)],
        [Comparison(NASTY, noise_image(8, 8), noise_image(8, 8))],
        {NASTY: Table([NASTY], [[NASTY]])},
        NASTY,
        {NASTY: NASTY},
    )
    page = Page(render(report))
    assert not any("onclick" in attributes for _, attributes in page.elements)
    assert page.text.count(NASTY) == 18  # the title twice
    labels = [value for _, attributes in page.elements for value in attributes.values() if value and NASTY in value]
    assert len(labels) == 8


def test_every_picture_and_plot_has_a_description():
    page = Page(render(full_report()))
    assert all(picture["alt"] for picture in page.all("img"))
    assert all(svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img")
    assert all(control["aria-label"] for control in page.all("input"))
    assert [svg.get("role") for svg in page.all("svg")].count("img") == 5


def test_a_column_of_numbers_stands_right_and_gaps_do_not_change_it():
    table = Table(["name", "PSNR", "mixed"], [["x", "24.3 dB", "1"], ["y", "-", "two words here"]])
    page = Page(render(Report("t", tables={"T": table})))
    assert [cell.get("class") for cell in page.all("td")] == [None, "number", None] * 2


def test_headline_numbers_keep_their_text():
    for value in ("24.31 dB", "0.7312", "1,024 a picture", "-3.5", "86.9%", "one card", ""):
        assert value in Page(render(Report("t", figures={"label": value}))).text


# Charts


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


# Fewer points


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
    assert runs(np.array([])) == []


# Axes


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


# Codebooks


@pytest.mark.parametrize("codes", [1, 2, 127, 128, 129, 1000, 65_536])
def test_bars_hold_every_code_once_and_every_token(codes):
    counts = np.random.default_rng(codes).zipf(1.5, codes) % 1000
    bars = rank_bars(counts)
    assert sum(bar.tokens for bar in bars) == counts.sum()
    assert [bar.first for bar in bars] == [1] + [bar.last + 1 for bar in bars[:-1]] and bars[-1].last == codes
    assert len(bars) <= 128
    means = [bar.mean for bar in bars]
    assert means == sorted(means, reverse=True)


def test_a_bar_a_code_is_the_sorted_counts():
    assert [bar.mean for bar in rank_bars(np.array([3, 0, 9, 1]))] == [9, 3, 1, 0]


def test_a_codebook_without_tokens_is_drawn_unused():
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.zeros(4, np.int64), np.eye(4))])))
    assert "No token was counted." in page.text and "100.0%" in page.text
    assert [path["class"] for path in page.all("path")] == ["unused", "hole"]


def test_even_use_of_one_code_is_drawn():
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.array([4]), np.ones((1, 2)))])))
    assert [path["class"] for path in page.all("path")] == ["bars", f"u{SHADES - 1}"]


def test_the_map_draws_every_code_once_hollow_if_unused():
    counts = np.array([0, 0, 1, 10, 100, 1000])
    codes = np.random.default_rng(0).normal(size=(6, 4))
    page = Page(render(Report("t", codebooks=[CodebookView("c", counts, codes)])))
    drawn = {path["class"]: path["d"].count("M") for path in page.all("path")}
    assert drawn.pop("unused") == drawn.pop("hole") == 2
    assert sum(number for name, number in drawn.items() if name != "bars") == 4


def test_a_large_codebook_is_sampled_and_says_so():
    codes = np.random.default_rng(0).normal(size=(SHOWN + 900, 3))
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.ones(SHOWN + 900, np.int64), codes)])))
    assert "4,096 of 4,996 codes, drawn at random" in page.text
    assert sum(path["d"].count("M") for path in page.all("path") if path["class"] != "bars") == SHOWN


def test_a_codebook_without_a_table_has_no_map():
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.array([1, 2]))])))
    assert "This quantizer computes its codes" in page.text


def test_codes_that_are_not_finite_are_left_out():
    codes = np.array([[1.0, 2.0], [NAN, 0.0], [3.0, 1.0]])
    assert (
        "Left out because not finite: 1."
        in Page(render(Report("t", codebooks=[CodebookView("c", np.ones(3), codes)]))).text
    )
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.ones(1), codes[1:2])])))
    assert "No code is finite" in page.text


def test_shades_go_up_with_use():
    assert shades_of_use(np.array([0, 1, 10, 100, 1000])).tolist() == [-1, 0, 2, 4, 5]
    assert shades_of_use(np.array([0, 7, 7])).tolist() == [-1, SHADES - 1, SHADES - 1]
    assert shades_of_use(np.zeros(2, np.int64)).tolist() == [-1, -1]


@pytest.mark.parametrize("dim", [2, 3, 16])
def test_projection_is_that_of_a_singular_value_decomposition(dim):
    codes = torch.randn(200, dim, dtype=torch.float64) * torch.linspace(1, 3, dim, dtype=torch.float64) + 5
    projection = project(codes.numpy())
    centred = codes - codes.mean(0)
    _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:2].T
    signs = np.sign((projection.points * expected.numpy()).sum(0))
    np.testing.assert_allclose(projection.points * signs, expected.numpy(), atol=1e-9)
    assert projection.variance == pytest.approx(float((singular[:2] ** 2).sum() / (singular**2).sum()))
    low_rank = (centred @ torch.pca_lowrank(codes, q=dim)[2])[:, :2].numpy()
    np.testing.assert_allclose(np.abs(projection.points), np.abs(low_rank), atol=1e-8)


def test_projection_does_not_depend_on_where_or_how_the_codes_are_held():
    codes = np.random.default_rng(0).normal(size=(50, 4))
    np.testing.assert_allclose(project(codes).points, project(codes + 100).points, atol=1e-9)
    np.testing.assert_allclose(project(codes).points, project(codes.astype(np.float32)).points, atol=1e-5)


def test_projection_of_codes_on_a_line_or_a_point():
    points, variance = project(np.array([[1.0], [3.0]]))
    assert points.tolist() == [[-1, 0], [1, 0]] and variance == 1
    points, variance = project(np.ones((3, 5)))
    assert not points.any() and variance == 1


# Pictures


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_both_pictures_are_on_the_page():
    original, reconstruction = Image.new("RGB", (64, 48), (200, 10, 10)), Image.new("RGB", (64, 48), (10, 10, 200))
    page = Page(render(Report("t", comparisons=[Comparison("flag", original, reconstruction)])))
    shown = {picture["alt"]: decoded(picture["src"]) for picture in page.all("img")}
    assert shown["original: flag"].getpixel((5, 5)) == (200, 10, 10)
    assert shown["reconstruction: flag"].getpixel((5, 5)) == (10, 10, 200)
    assert len(page.all("input")) == 1


def test_small_pictures_lose_nothing_and_large_ones_are_reduced():
    small = noise_image(32, 20)
    assert decoded(data_url(small)).tobytes() == small.tobytes()
    large = Image.new("RGB", (3000, 1500), (10, 200, 30))
    shown = decoded(data_url(large))
    assert shown.size == (1024, 512) and large.size == (3000, 1500)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_any_mode_are_shown(mode):
    assert decoded(data_url(noise_image(120, 100).convert(mode))).size == (120, 100)


def test_eight_comparisons_make_a_page_of_moderate_size():
    gradient = np.linspace(0, 255, 256)
    smooth = np.stack([np.add.outer(gradient, gradient) / 2] * 3, -1)
    noise = np.random.default_rng(0).normal(0, 6, smooth.shape)
    picture = Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))
    pairs = [Comparison(str(index), picture, picture) for index in range(8)]
    assert len(render(Report("t", comparisons=pairs))) < 1_500_000
