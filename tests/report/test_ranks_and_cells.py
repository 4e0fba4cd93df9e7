"""Codes by rank on log scales, and codes by index."""

import re

import numpy as np
import pytest

from pages import Page, readouts
from samples import noise_image
from vistok.report.code_raster import MAX_CELLS, cell_means
from vistok.report.content import CodebookView, Comparison, Histogram, Report, Single
from vistok.report.page import GENERATOR, render
from vistok.report.rank_plot import POINTS, even_line, ranked_line
from vistok.report.shades import shades_of_use


def page_of(counts, **options):
    view = CodebookView("c", np.asarray(counts), on_log_ranks=True, **options)
    return Page(render(Report("t", codebooks=[view])))


def test_few_codes_have_a_point_each():
    assert ranked_line(np.array([3, 0, 9, 1])).tolist() == [[1, 9], [2, 3], [3, 1]]


@pytest.mark.parametrize("codes", [1, 95, 5000, 70_000])
def test_the_line_falls_from_rank_1_to_the_last_in_use(codes):
    counts = np.random.default_rng(codes).zipf(1.5, codes) % 1000
    line = ranked_line(counts)
    assert len(line) <= POINTS and (np.diff(line[:, 0]) > 0).all() and (np.diff(line[:, 1]) <= 0).all()
    assert line[0].tolist() == [1, counts.max()] and line[-1, 0] <= (counts > 0).sum()


@pytest.mark.parametrize(("tokens", "codes"), [(300, 1000), (5000, 1000), (400_000, 1000)])
def test_the_uniform_line_is_that_of_draws(tokens, codes):
    generator = np.random.default_rng(0)
    draws = [np.sort(generator.multinomial(tokens, [1 / codes] * codes))[::-1] for _ in range(40)]
    ranked = np.mean(draws, axis=0)
    line = even_line(tokens, codes)
    for rank in (10, 100, 250):
        drawn = np.exp(np.interp(np.log(rank), np.log(line[:, 0]), np.log(line[:, 1])))
        assert drawn == pytest.approx(ranked[rank - 1], rel=0.25 if tokens < codes else 0.1)
    assert line[-1, 0] == pytest.approx((ranked > 0.5).sum() if tokens < codes else codes, rel=0.1)


def test_the_plot_shows_both_lines_on_log_scales():
    page = page_of([90, 9, 3, 0])
    (data,) = readouts(page)
    assert data["xlog"] and data["log"] and data["curves"][0] == [[1, 90], [2, 9], [3, 3]] and len(data["curves"]) == 2
    assert "a uniform draw of as many" in page.text and len(page.all("polyline")) == 2
    assert "No token was counted." in page_of([0, 0]).text


@pytest.mark.parametrize("codes", [1, 7, 300, MAX_CELLS, MAX_CELLS + 1, 64_800])
def test_every_code_is_in_one_cell_of_its_shade(codes):
    counts = np.random.default_rng(codes).integers(0, 6, codes) ** 3
    each = -(-codes // MAX_CELLS)
    means = cell_means(counts, each)
    assert means.tolist() == [counts[start : start + each].mean() for start in range(0, codes, each)]
    page = page_of(counts)
    side = int(next(svg for svg in page.all("svg") if svg.get("class") == "map raster")["viewbox"].split()[2])
    drawn = np.full(side * side, -2)
    for path in page.all("path"):
        shade = -1 if path["class"] == "none" else int(path["class"][1:])
        for x, y, length in re.findall(r"M(\d+),(\d+)h(\d+)", path["d"]):
            start = int(y) * side + int(x)
            assert int(x) + int(length) <= side and (drawn[start : start + int(length)] == -2).all()
            drawn[start : start + int(length)] = shade
    assert drawn[: len(means)].tolist() == shades_of_use(means).tolist() and (drawn[len(means) :] == -2).all()
    assert ("is a code." if each == 1 else f"is the mean of {each} codes.") in page.text


def test_a_histogram_has_its_numbers():
    page = Page(render(Report("t", histograms=[Histogram("Sizes", "pixels", "images", [1, 2, 4, 8], [5, 0, 10])])))
    (data,) = readouts(page)
    assert [value for _, value in data["curves"][0]] == [5, 0, 10]
    assert data["labels"] == ["1 to 2 pixels", "2 to 4 pixels", "4 to 8 pixels"]
    (path,) = page.all("path")
    heights = [int(y) for _, y in re.findall(r"(\d+),(\d+)", path["d"])][1:-1]
    tops = [10_000 - y for y in heights]
    assert tops[0] == tops[1] == pytest.approx(tops[4] / 2, abs=1) and tops[2] == tops[3] == 0
    assert "most of them (10 of 15) between 4 and 8" in next(
        svg["aria-label"] for svg in page.all("svg") if svg.get("role")
    )
    empty = Page(render(Report("t", histograms=[Histogram("Sizes", "pixels", "images", [1, 2], [0])])))
    assert "There are no images to count." in empty.text


def test_a_gallery_shows_reconstructions_without_an_original_alone():
    alone = Single("alone", noise_image(16, 8))
    pair = Comparison("pair", noise_image(16, 8), noise_image(16, 8))
    page = Page(render(Report("t", galleries={"Random": [alone, pair], "None": []})))
    assert [image["alt"] for image in page.all("img")] == [
        "reconstruction: alone",
        "reconstruction: pair",
        "original: pair",
    ]
    assert len(page.all("input")) == 1 and "Random" in page.text and "None" not in page.text


def test_a_page_says_whose_it_is():
    assert {"name": "generator", "content": GENERATOR} in Page(render(Report("t"))).all("meta")
