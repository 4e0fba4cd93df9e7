"""Tokenizers side by side on a page: every word is there, escaped, and the curves are those of the counts."""

import json
import re

import numpy as np
import pytest
import torch

from pages import NASTY, Page, full_report, readouts
from samples import noise_image
from vistok.report.content import ComparedRow, ComparedSection, Curve, ImageRow, Report, SideBySide
from vistok.report.page import render
from vistok.report.side_by_side import usage_curve


def side_by_side(text="a"):
    rows = [
        ComparedRow(f"{text} 1", [f"{text} 2", f"{text} 3"], f"{text} 4", frozenset({1})),
        ComparedRow(f"{text} 5", [f"{text} 6", f"{text} 7"], "", is_detail=True),
    ]
    images = [ImageRow(f"{text} 8", noise_image(32, 24), {f"{text} 9": noise_image(32, 24, seed=1)})]
    return SideBySide(
        columns=[f"{text} 10", f"{text} 11"],
        explanation=[f"{text} 12"],
        sections=[ComparedSection(f"{text} 13", [f"{text} 14", f"{text} 15"], rows)],
        images=images,
        usage=[usage_curve(f"{text} 16", torch.tensor([[5, 0, 1, 2]])), Curve("no tokens", [], [])],
    )


def test_every_word_is_on_the_page_and_the_best_are_bold():
    html = render(Report("t", side_by_side=side_by_side("cell")))
    page = Page(html)
    words = {text.strip() for text in page.texts}
    assert {f"cell {number}" for number in range(1, 17)} <= words
    table = html.partition("<table")[2].partition("</table>")[0]
    assert re.findall(r"<b>(.*?)</b>", table) == ["cell 3"] and table.count('class="detail"') == 1
    assert [image["alt"] for image in page.all("img")] == ["original: cell 8", "cell 9: cell 8"]
    links, ids = (page.all("a"), [section["id"] for section in page.all("section") if "id" in section])
    assert (
        [link["href"] for link in links]
        == [f"#{each}" for each in ids]
        == ["#comparison", "#reconstructions", "#codebooks"]
    )


def test_every_text_is_escaped():
    page = Page(render(Report("t", side_by_side=side_by_side(NASTY))))
    assert not any("onclick" in attributes for _, attributes in page.elements)
    assert page.text.count(NASTY) == 16


def test_nothing_is_loaded_from_elsewhere_and_other_pages_do_not_grow():
    html = render(Report("t", side_by_side=side_by_side()))
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", html)
    assert ".compared" in html and ".beside" in html
    other = render(full_report())
    assert ".compared" not in other and ".beside" not in other


def test_an_empty_comparison_has_no_gallery_and_no_plot():
    page = Page(render(Report("t", side_by_side=SideBySide(["a"], [], []))))
    assert not page.all("img") and not page.all("figure")


@pytest.mark.parametrize("codes", [7, 1000])
def test_a_curve_is_tokens_by_rank_over_even_use(codes):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (2, codes)) * (rng.random((2, codes)) < 0.5)
    curve = usage_curve("a", torch.from_numpy(counts))
    relative = (np.sort(counts, axis=1)[:, ::-1] / counts.mean(axis=1, keepdims=True)).mean(axis=0)
    used = relative[relative > 0]
    groups = np.array_split(np.arange(len(used)), min(128, len(used)))
    assert curve.values == pytest.approx([used[group].mean() for group in groups])
    assert curve.steps == pytest.approx([100 * (group[-1] + 1) / codes for group in groups])
    even = usage_curve("even", torch.full((1, codes), 3))
    assert set(even.values) == {1.0} and even.steps[-1] == 100
    assert usage_curve("none", torch.zeros(1, codes, dtype=torch.int64)).values == []


def test_the_plot_holds_the_points_and_says_what_is_used():
    curves = [usage_curve("first", torch.tensor([[6, 2, 0, 0]])), usage_curve("second", torch.tensor([[1, 1, 1, 1]]))]
    page = Page(render(Report("t", side_by_side=SideBySide([], [], [], usage=curves))))
    (block,) = readouts(page)
    assert block["curves"] == [[[25, 3], [50, 1]], [[25, 1], [50, 1], [75, 1], [100, 1]]]
    assert block["log"] and block["unit"] == "% of the codes:" and json.dumps(block)
    assert "even use" in page.text
    labels = [
        attributes["aria-label"] for name, attributes in page.elements if name == "svg" and "aria-label" in attributes
    ]
    assert "first uses 50 % of its codes. second uses 100 % of its codes." in labels[0]
