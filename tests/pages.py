"""What tests of the report need: pages taken apart again."""

import json
from html.parser import HTMLParser

import numpy as np

from samples import noise_image
from vistok.report.content import Chart, CodebookView, Comparison, Curve, Report, Table
from vistok.report.page import render

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
        subtitle="of 1,176 images",
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
