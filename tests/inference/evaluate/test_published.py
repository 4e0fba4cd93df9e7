"""Published metrics stand beside those that were measured, with the difference."""

import json

import pytest

from compared_tokenizers import PUBLISHED, save
from samples import PHOTOS

NOTE = "Published metrics were measured on the publisher's images, mostly ImageNet: differences come from the images as well."


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return save(tmp_path_factory.mktemp("tokenizers") / "published", published=PUBLISHED, size=64)


def rows(said):
    """Return the cells of the rows of a table, by their labels in order."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in said.splitlines() if line.startswith("│")]


def after(table, label):
    """Return the row of a label and the two below it."""
    index = next(index for index, row in enumerate(table) if row[0] == label)
    return table[index : index + 3]


def facts_of(figures):
    measured = {name: figures.get(name) for name in PUBLISHED}
    return {
        name: {"published": value, "measured": measured[name], "difference": measured[name] and measured[name] - value}
        for name, value in PUBLISHED.items()
    }


def test_of_one_tokenizer(published, evaluate_several, tmp_path):
    said = evaluate_several(published, PHOTOS / "coffee.jpg", "--out", tmp_path, "--quiet")
    facts = json.loads((tmp_path / "metrics.json").read_text())
    assert facts["published"] == facts_of(facts) and facts["published"]["rfid"]["measured"] is None
    table, difference = rows(said), facts["psnr"] - PUBLISHED["psnr"]
    assert [row[:2] for row in after(table, "PSNR, as published")[:2]] == [
        ["PSNR, as published", "20.79 dB"],
        ["difference", f"{difference:+.2f} dB"],
    ]
    assert after(table, "clip_score, as published")[1][1] == "-" and NOTE in said
    page = (tmp_path / "report.html").read_text().replace("&#x27;", "'")
    assert f"<h3>As published. {NOTE}</h3>" in page and f">{difference:+.2f} dB</td>" in page


def test_of_several(published, tokenizer_folder, evaluate_several, tmp_path):
    said = evaluate_several(published, tokenizer_folder, PHOTOS / "coffee.jpg", "--out", tmp_path, "--quiet")
    first, second = json.loads((tmp_path / "metrics.json").read_text())["models"]
    assert first["published"] == facts_of(first["own_crop"]) and second["published"] == {}
    table, own = rows(said), first["own_crop"]
    assert after(table, "PSNR")[1:] == [
        ["as published", "20.79 dB", "-", ""],
        ["difference", f"{own['psnr'] - 20.79:+.2f} dB", "-", ""],
    ]
    assert after(table, "codebook usage")[2][1] == f"{own['usage'] - 0.97:+.1%}"
    assert after(table, "rFID (Inception)")[:2] == [
        ["rFID (Inception)", "-", "-", "lower"],
        ["as published", "2.190", "-", ""],
    ]
    assert after(table, "rFID (Inception)")[2][0] != "difference" and "LPIPS (VGG)" not in [row[0] for row in table]
    assert after(table, "clip_score")[:2] == [["clip_score", "-", "-", ""], ["as published", "0.31", "-", ""]]
    assert NOTE in said and NOTE in (tmp_path / "report.html").read_text().replace("&#x27;", "'")


def test_nothing_is_said_where_there_are_none(tokenizer_folder, evaluate_several, tmp_path):
    said = evaluate_several(tokenizer_folder, PHOTOS / "coffee.jpg", "--out", tmp_path, "--quiet")
    texts = [said.partition("\nin ")[0], *((tmp_path / name).read_text() for name in ("metrics.json", "report.html"))]
    assert not [text for text in texts if "ublished" in text]
