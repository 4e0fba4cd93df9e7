"""Collections of token shards, and report-tokens as a user runs it."""

import json

import pytest
from typer.testing import CliRunner

from pages import Page
from samples import image_bytes, noise_image
from vistok.inference.commands.report_tokens import app


@pytest.fixture
def inputs(make_tar, tmp_path):
    """Loose images of several sizes, two of them broken in one way and one in another, and a tar."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(7):
        (folder / f"{index}.png").write_bytes(image_bytes(noise_image(70 + 16 * (index % 3), 64, index), "PNG"))
    for index in (2, 5):
        path = folder / f"{index}.png"
        path.write_bytes(path.read_bytes()[: 3000 + index])
    (folder / "x.jpg").write_bytes(b"nothing")
    pngs = [(f"k{index}.png", image_bytes(noise_image(64, 200, 10 + index), "PNG")) for index in range(4)]
    tar = make_tar(tmp_path / "a.tar", [*pngs, ("k3.txt", b"-")])
    return [folder, tar]


@pytest.fixture
def report(tmp_path):
    """Run report-tokens, and return what it prints as JSON, and its page; or what it says with another exit code."""

    def run(folder, *options, code=0):
        out = tmp_path / "page.html"
        arguments = [str(folder), "--out", str(out), "--quiet", "--device", "cpu", *map(str, options)]
        result = CliRunner().invoke(app, [*arguments, *(["--json"] if not code else [])])
        assert result.exit_code == code, result.output + result.stderr
        if code:
            return " ".join((result.output + result.stderr).split())
        return json.loads(result.output), Page(out.read_text())

    return run
