import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from pages import NASTY, Page, curve, full_report, readouts
from samples import noise_image
from vistok.report.content import Chart, CodebookView, Comparison, Report, Table
from vistok.report.data_url import data_url
from vistok.report.page import render


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
    for fact in ("50.0%", "2 of 4 codes", "2.0", "of 3.4 at even use", "2 codes", "10counted"):
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
    assert len(labels) == 9


def test_every_image_and_plot_has_a_description():
    page = Page(render(full_report()))
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg["aria-label"] for svg in page.all("svg") if svg.get("role") == "img")
    assert all(control["aria-label"] for control in page.all("input"))
    assert [svg.get("role") for svg in page.all("svg")].count("img") == 6


def test_a_column_of_numbers_stands_right_and_gaps_do_not_change_it():
    table = Table(["name", "PSNR", "mixed"], [["x", "24.3 dB", "1"], ["y", "-", "two words here"]])
    page = Page(render(Report("t", tables={"T": table})))
    assert [cell.get("class") for cell in page.all("td")] == [None, "number", None] * 2


def test_headline_numbers_keep_their_text():
    for value in ("24.31 dB", "0.7312", "1,024 per image", "-3.5", "86.9%", "one card", ""):
        assert value in Page(render(Report("t", figures={"label": value}))).text


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_both_images_are_on_the_page():
    original, reconstruction = Image.new("RGB", (64, 48), (200, 10, 10)), Image.new("RGB", (64, 48), (10, 10, 200))
    page = Page(render(Report("t", comparisons=[Comparison("flag", original, reconstruction)])))
    shown = {image["alt"]: decoded(image["src"]) for image in page.all("img")}
    assert shown["original: flag"].getpixel((5, 5)) == (200, 10, 10)
    assert shown["reconstruction: flag"].getpixel((5, 5)) == (10, 10, 200)
    assert len(page.all("input")) == 1


def test_small_images_lose_nothing_and_large_ones_are_reduced():
    small = noise_image(32, 20)
    assert decoded(data_url(small)).tobytes() == small.tobytes()
    large = Image.new("RGB", (3000, 1500), (10, 200, 30))
    shown = decoded(data_url(large))
    assert shown.size == (1024, 512) and large.size == (3000, 1500)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_images_of_any_mode_are_shown(mode):
    assert decoded(data_url(noise_image(120, 100).convert(mode))).size == (120, 100)


@pytest.mark.parametrize("side", [97, 200, 512])
def test_noise_in_colour_is_shown(side):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    assert decoded(data_url(noise)).size == (side, side)


def test_eight_comparisons_make_a_page_of_moderate_size():
    gradient = np.linspace(0, 255, 256)
    smooth = np.stack([np.add.outer(gradient, gradient) / 2] * 3, -1)
    noise = np.random.default_rng(0).normal(0, 6, smooth.shape)
    image = Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))
    pairs = [Comparison(str(index), image, image) for index in range(8)]
    assert len(render(Report("t", comparisons=pairs))) < 1_500_000
