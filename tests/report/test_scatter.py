"""One point for each of several things: where its values say, and with its values in words."""

import re

import pytest

from pages import NASTY, Page
from vistok.report.content import Report, Scatter, SideBySide
from vistok.report.page import render

POINTS = {"a": (0.1, 20.0), "b": (0.3, 30.0), "c": (0.2, 22.5)}


def page_of(scatter):
    return render(Report("t", side_by_side=SideBySide(["a", "b"], [], [], scatter=scatter)))


def positions(html):
    return [
        tuple(map(float, each))
        for each in re.findall(r'<circle class="c\d" cx="([\d.]+)%" cy="([\d.]+)%" r="5"/>', html)
    ]


def test_points_are_where_their_values_are():
    html = page_of(Scatter("Title", "rate", "PSNR", POINTS))
    (ax, ay), (bx, by), (cx, cy) = positions(html)
    assert bx - ax == pytest.approx(2 * (cx - ax), abs=0.03) and bx > ax
    assert ay - by == pytest.approx(4 * (ay - cy), abs=0.05) and by < ay  # svg counts downwards
    assert all(0 <= value <= 100 for point in positions(html) for value in point)
    for name, (x, y) in POINTS.items():
        assert f"{name} <output>{y:.4g} at {x:.4g}</output>" in html and f"{name}: {y:.4g} at {x:.4g}." in html


def test_equal_points_can_be_drawn():
    assert len(positions(page_of(Scatter("t", "x", "y", {"a": (1.0, 2.0), "b": (1.0, 2.0)})))) == 2


def test_every_text_is_escaped():
    page = Page(page_of(Scatter(NASTY, NASTY, NASTY, {NASTY: (1.0, 2.0), "b": (2.0, 3.0)})))
    assert not any("onclick" in attributes for _, attributes in page.elements)
    assert page.text.count(NASTY) == 4
