"""The comparison on a terminal of 80 columns and on the page."""

import json

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from compared_tokenizers import RESIDUAL, WITHOUT_DECODER, save
from pages import Page
from samples import PHOTOS
from vistok.evaluation.rows import ROWS
from vistok.inference.commands.evaluate_tokenizer import app

NAMES = ["a", "llamagen-vq16", "a_name_without_places_to_break", "d", "e"]
SHOWN = ("psnr", "ssim", "usage", "even_usage", "perplexity", "tokens", "tokens_per_image", "bits_per_pixel")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    kinds = {"llamagen-vq16": {"quantizer": RESIDUAL}, "d": {"architecture": WITHOUT_DECODER}}
    return [save(folder / name, size=32 if name == "e" else 64, **kinds.get(name, {})) for name in NAMES]


def call(*arguments):
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.stdout


def columns_of(said):
    """Return the cells below each name, in order, over all tables; names may be broken over lines."""
    columns = {}
    for table in said.split("┏")[1:]:
        head = [line.strip("┃").split("┃") for line in table.splitlines() if line.startswith("┃")]
        names = ["".join(part.strip() for part in parts) for parts in zip(*head, strict=True)]
        body = [line.strip("│").split("│") for line in table.splitlines() if line.startswith("│")]
        for index, name in enumerate(names):
            columns.setdefault(name, [row[index].strip() for row in body])
    return columns


def test_tables_are_no_wider_than_the_terminal_and_hold_all_figures(tokenizers, tmp_path):
    said = call(*tokenizers, PHOTOS, "--out", tmp_path, "--quiet")
    facts = json.loads((tmp_path / "metrics.json").read_text())
    assert max(cell_len(line) for line in said.splitlines() if line[:1] in "┏┃┡│├└") <= 80
    assert said.count("┏━") == 2, "five in two tables"
    columns = columns_of(said)
    assert list(columns) == ["6 images", *NAMES[:3], "better", *NAMES[3:]]
    labels = columns["6 images"]
    for model in facts["models"]:
        cells = columns[model["name"]]
        for start, crop in ((labels.index("own crop"), "own_crop"), (labels.index("common crop"), "common_crop")):
            size = model[crop]["preprocessing"]["size"]
            assert cells[start] == f"{size} x {size}"
            for name in SHOWN:
                value = model[crop][name]
                assert cells[labels.index(ROWS[name].label, start)] == (
                    "-" if value is None else ROWS[name].text(value)
                )


def test_the_page_is_the_same_side_by_side(tokenizers, tmp_path):
    call(*tokenizers, PHOTOS, "--out", tmp_path, "--quiet")
    facts = json.loads((tmp_path / "metrics.json").read_text())
    page = Page((tmp_path / "report.html").read_text())
    for model in facts["models"]:
        assert model["fingerprint"] in page.text
        for crop in ("own_crop", "common_crop"):
            for name in SHOWN:
                if model[crop][name] is not None:
                    assert ROWS[name].text(model[crop][name]) in page.text
    assert facts["common_crop"]["choice"] in page.text and "The common crop is 32 x 32 pixels: the largest" in page.text
    assert "a, llamagen-vq16, a_name_without_places_to_break, d and e" in page.text
    decoding = [name for name in NAMES if name != "d"]
    assert len(page.all("img")) == 6 * (1 + len(decoding))
    images = [image["alt"] for image in page.all("img")]
    assert images[:3] == ["original: astronaut.jpg", images[1], images[2]] and images[1].startswith("a · ")
    sizes = {(image["width"], image["height"]) for image in page.all("img")}
    assert sizes == {("32", "32")}, "on the common crop"


def test_tokenizers_with_the_common_crop_as_their_own_have_one_section(tokenizers, tmp_path):
    said = call(tokenizers[0], tokenizers[1], PHOTOS / "coffee.jpg", "--out", tmp_path, "--quiet")
    labels = columns_of(said)["1 image"]
    assert labels.count("PSNR") == 1 and "own and common crop" in labels


def test_json_is_one_line_with_the_facts_of_metrics_json(tokenizers, tmp_path):
    facts = json.loads(call(*tokenizers[:2], PHOTOS / "coffee.jpg", "--out", tmp_path, "--json"))
    assert facts.pop("report") == str(tmp_path / "report.html")
    assert facts == json.loads((tmp_path / "metrics.json").read_text())


def test_damaged_shards_are_named_and_the_rest_is_compared(tokenizers, make_tar, tmp_path):
    whole = make_tar(tmp_path / "whole.tar", [("a.png", (PHOTOS / "coffee.jpg").read_bytes())])
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(whole.read_bytes()[:700])
    (tmp_path / "broken.png").touch()
    inputs = [PHOTOS / "coffee.jpg", damaged, tmp_path / "broken.png"]
    result = CliRunner().invoke(app, [str(each) for each in (*tokenizers[:2], *inputs, "--out", tmp_path / "out")])
    assert result.exit_code == 1 and f"lost: {damaged} " in result.stdout
    assert "failed: broken.png: the file is empty" in result.stdout and "1 image" in result.stdout
    assert len(json.loads((tmp_path / "out" / "metrics.json").read_text())["lost"]) == 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"Lost: {damaged}" in page and "broken.png was left out: the file is empty." in page
