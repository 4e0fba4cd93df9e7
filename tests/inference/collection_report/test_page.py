"""The page of a folder: its numbers are derived again from the shards, and it says what is missing."""

import math
import shutil

import fsspec
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import vistok
from compared_tokenizers import RESIDUAL, WITHOUT_DECODER, save
from pages import Page, readouts
from samples import image_bytes, noise_image, stored_samples
from shard_files import FORMATS
from vistok.inference.collection_report import rates
from vistok.inference.collection_report import report as report_module
from vistok.inference.collection_report.page_file import PAGE_FILE
from vistok.inference.commands.report_tokens import app
from vistok.inference.token_shards.formats import SHARD_FORMATS

each_format = pytest.mark.parametrize("name", FORMATS)


def all_samples(folder, name="wds"):
    shards = sorted(path for path in folder.iterdir() if path.suffix == SHARD_FORMATS[name].suffixes[0])
    return [sample for shard in shards for sample in stored_samples(shard)]


def captions(page):
    return [text for text in page.texts if " dB" in text and "·" in text]


@each_format
def test_the_numbers_are_those_of_the_shards(name, tokenize, inputs, report, tmp_path):
    out = tmp_path / "out"
    tokenize(*inputs, "--out", out, "--format", name, "--shard-size", 3, "--size", "native", "--keep", "none")
    figures, page = report(out, *(word for source in inputs for word in ("--source", source)))
    samples = all_samples(out, name)
    tokens = np.concatenate([sample.read_tokens().reshape(-1) for sample in samples])
    codes, counts = np.unique(tokens, return_counts=True)
    fractions = counts / len(tokens)
    (usage,) = figures["codebooks"]
    assert figures["rows_read"] == figures["images"] == len(samples) == 9 and figures["tokens"] == len(tokens)
    assert usage["usage"] == pytest.approx(len(codes) / 300)
    assert usage["perplexity"] == pytest.approx(math.exp(-(fractions * np.log(fractions)).sum()))
    assert figures["even_usage"] == pytest.approx(1 - (1 - 1 / 300) ** len(tokens))
    assert sum(figures["failures"].values()) == 3 and len(figures["failures"]) == 2
    ranks = next(data for data in readouts(page) if data["unit"] == "rank")
    assert ranks["curves"][0][0] == [1, counts.max()]
    pixels, aspects = (data["curves"][0] for data in readouts(page) if data["unit"] in ("megapixels", "width / height"))
    sizes = [(sample.metadata()["width"], sample.metadata()["height"]) for sample in samples]
    for bars, values in ((pixels, [w * h / 1e6 for w, h in sizes]), (aspects, [w / h for w, h in sizes])):
        drawn = [middle for middle, number in bars for _ in range(number)]
        assert len(drawn) == len(values)
        assert np.abs(np.log2(np.sort(drawn) / np.sort(values))).max() <= 0.126  # half of a quarter of an octave
    grids = {f"{y} x {x}" for _, y, x in (sample.read_tokens().shape for sample in samples)}
    assert grids == {"8 x 9", "8 x 11", "25 x 8"}
    for word in (*grids, "64 x 200", "not an image", ".txt"):
        assert word in page.text, word
    assert "2.png (images-00000)" in page.text and "5.png" in page.text and "x.jpg" in page.text
    assert len(captions(page)) == 9 + math.ceil(9 / 4)


def test_the_worst_are_those_of_the_lowest_psnr(tokenize, tokenizer_folder, inputs, report, tmp_path):
    out = tmp_path / "out"
    tokenize(*inputs, "--out", out)
    _, page = report(out, *(word for source in inputs for word in ("--source", source)))
    tokenizer = vistok.load(tokenizer_folder, device="cpu")
    psnrs = {}
    for sample in all_samples(out):
        source = sample.metadata()["source"]
        path = inputs[0] / source
        image = Image.open(path) if path.exists() else noise_image(64, 200, 10 + int(source[1]))
        side = min(image.size)  # the centre square of 64, whose resize does nothing
        left, top = ((length - side) // 2 for length in image.size)
        original = np.asarray(image.crop((left, top, left + side, top + side)), np.float64)
        decoded = np.asarray(tokenizer.decode(sample.read_tokens()[None].astype(np.int64))[0], np.float64)
        psnrs[sample.key] = 10 * math.log10(255**2 / ((original - decoded) ** 2).mean())
    shown = [text.split(" · ") for text in captions(page)]
    assert {key for key, _ in shown[:9]} == set(psnrs)
    for key, text in shown:
        assert float(text.split()[0]) == pytest.approx(psnrs[key], abs=0.006)
    assert [key for key, _ in shown[9:]] == sorted(psnrs, key=psnrs.__getitem__)[:3]


def test_a_call_writes_the_page_with_its_own_numbers(tokenize, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "MIN_SECONDS", 0.001)
    out = tmp_path / "out"
    said = tokenize(*inputs, "--out", out, "--shard-size", 3, "--report")
    assert f"report      {out / PAGE_FILE}" in said
    page = Page((out / PAGE_FILE).read_text())
    for word in ("What the call waited for", "Random rows", "Images per second of this call", "usage at even use"):
        assert word in page.text, word
    usage = next(line for line in said.splitlines() if line.startswith("codebook"))
    assert usage.split("usage ")[1].split()[0] in page.text
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.name != PAGE_FILE}
    assert f"report      {out / PAGE_FILE}" in tokenize(*inputs, "--out", out, "--shard-size", 3, "--report")
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.name != PAGE_FILE}
    tokenize(*inputs, "--out", tmp_path / "plain", "--shard-size", 3)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}


def test_a_page_that_fails_is_a_line_and_no_failure(tokenize, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "render", lambda _: 1 / 0)
    said = tokenize(*inputs, "--out", tmp_path / "out", "--report")
    assert "tokens.html is missing: ZeroDivisionError: division by zero (--debug shows where)." in said
    assert (tmp_path / "out" / "manifest.json").exists() and not (tmp_path / "out" / PAGE_FILE).exists()


def test_a_slow_tokenizer_gets_a_page_without_images(tokenize, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, "IMAGE_SECONDS", 0)
    tokenize(*inputs, "--out", tmp_path / "out", "--report")
    page = Page((tmp_path / "out" / PAGE_FILE).read_text())
    assert "takes seconds for an image here: report-tokens decodes some." in page.text and not page.all("img")


def test_no_time_gives_a_page_that_says_so(tokenize, inputs, tmp_path, monkeypatch):
    tokenize(inputs[1], "--out", tmp_path / "out")
    monkeypatch.setattr(report_module, "READING_SECONDS", -1)
    tokenize(*inputs, "--out", tmp_path / "out", "--shard-size", 3, "--report")
    page = Page((tmp_path / "out" / PAGE_FILE).read_text())
    assert "Usage, grids, sizes and images are from 0 of 9 rows, in 0 shards drawn at random." in page.text


def test_a_folder_that_is_half_done_is_described_as_that(tokenize, inputs, report, tmp_path):
    out = tmp_path / "out"
    tokenize(*inputs, "--out", out, "--shard-size", 2)
    manifest = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(manifest.replace('"has_ended": true', '"has_ended": false'))
    assert "manifest.json is of a tokenize-images command that has not ended, so shards may" in report(out)[1].text
    (out / "images-00001.json").unlink()
    (out / "a.tar").write_bytes((out / "a.tar").read_bytes()[:5000])  # another size than the sidecar says
    figures, page = report(out)
    assert figures["shards"] == 3 and figures["images"] == figures["rows_read"] == 4
    assert "manifest.json counts 5 shards, but 3 are whole: a call is at work, or was stopped." in page.text
    assert "2 shards without a sidecar that fits" in page.text and "a.tar, images-00001.tar" in page.text
    for path in out.glob("*.tar"):
        path.unlink()
    figures, page = report(out)
    assert figures["shards"] == figures["tokens"] == 0 and "No shard is whole yet." in page.text


def test_damage_is_named_and_not_counted(tokenize, inputs, report, tmp_path):
    out = tmp_path / "out"
    tokenize(*inputs, "--out", out)
    whole = (out / "a.tar").read_bytes()
    npy = whole.index(b"\x93NUMPY")
    (out / "a.tar").write_bytes(whole[: npy + 128] + b"\xff\xff" * 64 + whole[npy + 256 :])  # codes that do not exist
    figures, page = report(out)
    assert figures["damaged_rows"] == 1 and figures["rows_read"] == 8
    assert "Damaged: a.tar: k0: a token is 65535, but the codes are 0 to 299." in page.text
    (out / "a.tar").write_bytes(b"\xff" * len(whole))
    figures, page = report(out)
    assert figures["rows_read"] == 5 and any(f"Damaged: {out / 'a.tar'}" in note for note in figures["notes"])


def test_a_folder_behind_a_url_gives_the_same_numbers(tokenize, inputs, report, tmp_path):
    out = tmp_path / "out"
    tokenize(*inputs, "--out", out, "--shard-size", 3)
    memory = fsspec.filesystem("memory")
    for path in out.iterdir():
        memory.pipe_file(f"/report/{path.name}", path.read_bytes())
    try:
        assert report("memory://report")[0] == report(out)[0]
        assert "report      memory://written/tokens.html" in tokenize(*inputs, "--out", "memory://written", "--report")
        assert b'content="vistok"' in memory.cat_file("/written/tokens.html")
    finally:
        memory.rm("/report", recursive=True)
        memory.rm("/written", recursive=True)


def test_rows_of_views_are_compared_with_their_own_view(tokenize, tokenizer_folder, inputs, report, tmp_path):
    out = tmp_path / "out"
    tokenize(inputs[1], "--out", out, "--flip")
    figures, page = report(out, "--source", inputs[1])
    assert (figures["images"], figures["rows"]) == (4, 8)
    sizes = next(data for data in readouts(page) if data["unit"] == "megapixels")
    assert sum(number for _, number in sizes["curves"][0]) == 4  # images, not rows
    shown = dict(text.split(" · ") for text in captions(page))
    tokenizer = vistok.load(tokenizer_folder, device="cpu")
    for sample in all_samples(out):
        original = np.asarray(noise_image(64, 200, 10 + int(sample.key[1])), np.float64)[68:132]
        original = original[:, ::-1] if sample.key.endswith("flipped") else original
        decoded = np.asarray(tokenizer.decode(sample.read_tokens()[None].astype(np.int64))[0], np.float64)
        psnr = 10 * math.log10(255**2 / ((original - decoded) ** 2).mean())
        assert float(shown[sample.key].split()[0]) == pytest.approx(psnr, abs=0.006)


def test_a_source_that_has_changed_or_is_elsewhere_is_not_compared(tokenize, inputs, report, tmp_path):
    out = tmp_path / "out"
    tokenize(inputs[0], "--out", out)
    other = tmp_path / "other"
    shutil.copytree(inputs[0], other)
    for index in (0, 1, 3, 4):
        (other / f"{index}.png").write_bytes(image_bytes(noise_image(64, 64, 99 + index), "PNG"))
    _, page = report(out, "--source", other)
    assert [text.split(" · ")[0] for text in captions(page)] == ["6"] and len(page.all("img")) == 6
    (other / "6.png").write_bytes(image_bytes(noise_image(64, 64, 98), "PNG"))
    _, page = report(out, "--source", other)
    assert f"None of 5 random rows was found in {other}, unchanged: no originals." in page.text
    _, page = report(out)
    assert "No originals beside the reconstructions" in page.text and len(page.all("img")) == 5


def test_without_its_tokenizer_there_are_numbers_and_no_images(tokenize, tokenizer_folder, inputs, report, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(tokenizer_folder, moved)
    tokenize(*inputs, "--out", tmp_path / "out", model=moved)
    shutil.rmtree(moved)
    figures, page = report(tmp_path / "out")
    assert figures["rows_read"] == 9 and not page.all("img")
    assert "No reconstructions, since the tokenizer is missing: " in page.text
    assert len(report(tmp_path / "out", "--model", tokenizer_folder)[1].all("img")) == 9


def test_a_part_is_read_when_rows_are_limited(tokenize, inputs, report, tmp_path):
    out = tmp_path / "out"
    tokenize(*inputs, "--out", out, "--shard-size", 2)
    figures, page = report(out, "--rows", 1)
    assert 1 <= figures["rows_read"] < 9 and figures["rows"] == 9
    assert f"are from {figures['rows_read']} of 9 rows, in 1 shard drawn at random." in page.text
    assert figures == report(out, "--rows", 1)[0]


def test_the_page_is_in_its_folder_unless_it_is_named(tokenize, inputs, tmp_path):
    tokenize(inputs[1], "--out", tmp_path / "out")
    assert CliRunner().invoke(app, [str(tmp_path / "out"), "--quiet"]).exit_code == 0
    assert Page((tmp_path / "out" / PAGE_FILE).read_text()).texts
    for folder, said in [
        (str(tmp_path / "nowhere"), "nowhere has no manifest.json: give a folder that tokenize-images wrote."),
        ("memory://a", "The page about memory://a is written to this machine: give its name by --out tokens.html."),
    ]:
        result = CliRunner().invoke(app, [folder])
        assert result.exit_code == 2 and said in " ".join(result.stderr.split())


def test_wrong_calls_are_a_sentence(tokenize, inputs, report, tmp_path):
    out = tmp_path / "out"
    assert f"{out} has no manifest.json: give a folder that tokenize-images wrote." in report(out, code=2)
    tokenize(inputs[1], "--out", out)
    said = report(out, "--model", "photo-f8", code=2)
    assert "but photo-f8 makes others: give --model the tokenizer that made them." in said
    assert "does not exist" in report(out, "--source", tmp_path / "nowhere", code=2)
    said = "--image-column is for parquet files with the images: give these by --source too."
    assert said in report(out, "--image-column", "photo", code=2)
    page = tmp_path / "page.html"
    page.write_text("<html>mine</html>")
    assert f"--out is {page}, which is not a page of vistok and would be replaced: give another file." in report(
        out, code=2
    )
    page.unlink()
    page.mkdir()
    assert f"--out is {page}, a folder: give a file, such as {page / PAGE_FILE}." in report(out, code=2)
    (out / PAGE_FILE).write_text("mine")
    said = " ".join(tokenize(inputs[1], "--out", out, "--report", code=2).split())
    assert (
        "tokens.html was not written by vistok and would be replaced" in said
        and (out / PAGE_FILE).read_text() == "mine"
    )


def test_a_tokenizer_without_a_decoder_has_a_page_without_images(tokenize, inputs, report, tmp_path):
    folder = save(tmp_path / "encoder", architecture=WITHOUT_DECODER, size=64)
    tokenize(inputs[1], "--out", tmp_path / "out", "--report", model=folder)
    for page in (report(tmp_path / "out")[1], Page((tmp_path / "out" / PAGE_FILE).read_text())):
        assert "No reconstructions, since this tokenizer has no decoder." in page.text and not page.all("img")


def test_each_codebook_is_drawn_beside_what_so_few_tokens_can_use(tokenize, inputs, report, tmp_path):
    folder = save(tmp_path / "residual", RESIDUAL, size=32)
    tokenize(inputs[1], "--out", tmp_path / "out", model=folder)
    figures, page = report(tmp_path / "out", "--rows", 1)
    assert len(figures["codebooks"]) == 2 and figures["tokens"] == 64
    assert "codebook 0" in page.text and "codebook 1" in page.text and "tokens per codebook" in page.text
    assert (
        f"64 tokens can use at most 64.0% of 100 codes, and a uniform draw of as many uses {1 - 0.99**64:.1%}"
        in page.text
    )


def test_codes_too_many_to_count_are_an_estimate(tokenize, inputs, report, tmp_path):
    folder = save(tmp_path / "lfq", {"name": "lfq", "dim": 36}, size=64)
    tokenize(inputs[1], "--out", tmp_path / "out", model=folder)
    figures, page = report(tmp_path / "out")
    tokens = np.concatenate([sample.read_tokens().reshape(-1) for sample in all_samples(tmp_path / "out")])
    assert figures["codebooks"][0]["usage"] * 2**36 == pytest.approx(len(np.unique(tokens)), rel=0.01)
    assert "Usage and perplexity are estimates from 4,194,304 hash slots" in page.text
