"""The commands, run as a user runs them, on images of every kind."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner
from webdataset.autodecode import Decoder, basichandlers
from webdataset.tariterators import group_by_keys, tar_file_iterator

import vistok
from samples import PHOTOS, image_bytes, noise_image
from vistok.inference.commands.tokenize_images import app as tokenize_app
from vistok.tokenizer.files import ASIDE_PATTERN, aside_of

decode = Decoder([basichandlers])


def tokens_of(shard):
    """Read a shard with webdataset, through a stream that is closed: WebDataset itself leaves its files open."""
    with open(shard, "rb") as stream:
        files = ({**file, "__url__": str(shard)} for file in tar_file_iterator(stream))
        return {sample["__key__"]: decode(sample) for sample in group_by_keys(files)}


def size_of(path):
    with Image.open(path) as image:
        return image.size


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in (".tar", ".json")}


def test_photos_to_tokens_and_back(tokenize, detokenize, tokenizer_folder, tmp_path):
    out, back = tmp_path / "tokens", tmp_path / "back"
    said = tokenize(PHOTOS, "--out", out, "--preview", 4)
    assert "6 tokenized, 0 failed" in said and "usage" in said and "perplexity" in said and "1 passed over" in said
    tokenizer = vistok.load(tokenizer_folder)
    samples = tokens_of(out / "images-00000.tar")
    assert len(samples) == 6
    for key, sample in samples.items():
        path = PHOTOS / sample["tokens.json"]["source"]
        assert path.stem == key
        assert np.array_equal(sample["tokens.npy"], tokenizer.encode(path)[0].numpy())
        assert sample["tokens.npy"].dtype == np.uint16
        assert (sample["tokens.json"]["width"], sample["tokens.json"]["height"]) == size_of(path)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["fingerprint"] == tokenizer.fingerprint and manifest["vocab_size"] == 300
    assert (manifest["images"], manifest["shards"], manifest["failures"]) == (6, 1, 0)
    assert size_of(out / "preview.png") == (4 * (64 + 8) + 8, 2 * 64 + 3 * 8)
    assert "6 images from 1 shard in" in detokenize(out, "--out", back)
    for key, sample in samples.items():
        expected = tokenizer.decode(torch.from_numpy(sample["tokens.npy"].astype(np.int64))[None])[0]
        assert np.array_equal(np.asarray(Image.open(back / f"{key}.png")), np.asarray(expected))


def test_bytes_depend_on_images_and_tokenizer_alone(tokenize, tmp_path):
    tokenize(PHOTOS, "--out", tmp_path / "a", "--batch-size", 1, "--workers", 1)
    tokenize(PHOTOS, "--out", tmp_path / "b", "--batch-size", 5, "--workers", 4)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_shard_is_done_when_its_sidecar_is_there(tokenize, tmp_path):
    tokenize(PHOTOS, "--out", tmp_path, "--shard-size", 2)
    whole = contents(tmp_path)
    assert "0 written, 3 done before" in tokenize(PHOTOS, "--out", tmp_path, "--shard-size", 2)
    (tmp_path / "images-00001.json").unlink()
    (tmp_path / "images-00002.tar").write_bytes(b"cut off")
    aside_of(tmp_path / "images-00001.tar").write_bytes(b"left by a kill")
    assert "2 written, 1 done before" in tokenize(PHOTOS, "--out", tmp_path, "--shard-size", 2)
    assert contents(tmp_path) == whole
    assert not list(tmp_path.glob(ASIDE_PATTERN))


def test_another_tokenizer_or_other_images_are_refused(tokenize, tmp_path):
    out = tmp_path / "out"
    tokenize(PHOTOS, "--out", out)
    said = tokenize(PHOTOS, "--out", out, "--size", 32, code=2)
    assert f"{out} was made with size 64, not 32: use another --out folder, or --overwrite." in said
    assert "holds astronaut.jpg, which is not among the images given now" in tokenize(
        PHOTOS / "coffee.jpg", "--out", out, code=2
    )
    tokenize(PHOTOS / "coffee.jpg", "--out", out, "--size", 32, "--overwrite")
    assert json.loads((out / "manifest.json").read_text())["images"] == 1


def test_overwrite_touches_nothing_but_shards(tokenize, tmp_path):
    tokenize(PHOTOS, "--out", tmp_path)
    (tmp_path / "mine.json").write_text('{"keep": "me"}')
    (tmp_path / "mine.tar").write_text("keep me")
    tokenize(PHOTOS / "coffee.jpg", "--out", tmp_path, "--overwrite")
    assert (tmp_path / "mine.json").exists() and (tmp_path / "mine.tar").exists()


def exif_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    return image_bytes(noise_image(30, 20), "JPEG", exif=exif)


GOOD = {
    "photo.jpg": image_bytes(noise_image(90, 70), "JPEG"),
    "photo.png": image_bytes(noise_image(90, 70), "PNG"),
    "photo.webp": image_bytes(noise_image(90, 70), "WEBP"),
    "anim.gif": image_bytes(noise_image(90, 70), "GIF"),
    "scan.tif": image_bytes(noise_image(90, 70), "TIFF"),
    "print.jpeg": image_bytes(noise_image(40, 40).convert("CMYK"), "JPEG"),
    "palette.png": image_bytes(noise_image(40, 40).quantize(16), "PNG"),
    "deep.png": image_bytes(Image.fromarray(np.full((20, 30), 40_000, np.uint16)), "PNG"),
    "clear.png": image_bytes(Image.new("RGBA", (30, 30), (9, 9, 9, 0)), "PNG"),
    "turned.jpg": exif_image(),
    "thin.png": image_bytes(noise_image(1, 50), "PNG"),
}
BAD = {
    "cut.jpg": GOOD["photo.jpg"][:2000],
    "empty.png": b"",
    "text.jpg": b"these are not the bytes of an image",
}


@pytest.mark.parametrize("size", ["64", "native"])
def test_images_of_every_kind_or_a_row_among_the_failures(tokenize, detokenize, tmp_path, size):
    for name, content in {**GOOD, **BAD}.items():
        (tmp_path / name).write_bytes(content)
    out, back = tmp_path / "out", tmp_path / "back"
    said = tokenize(tmp_path, "--out", out, "--size", size)
    assert f"{len(GOOD)} tokenized, {len(BAD)} failed" in said
    sidecar = json.loads((out / "images-00000.json").read_text())
    assert {failure["source"] for failure in sidecar["failures"]} == set(BAD)
    assert all(failure["reason"] and failure["key"] for failure in sidecar["failures"])
    assert {sample["tokens.json"]["source"] for sample in tokens_of(out / "images-00000.tar").values()} == set(GOOD)
    turned = next(s for s in tokens_of(out / "images-00000.tar").values() if s["tokens.json"]["source"] == "turned.jpg")
    assert (turned["tokens.json"]["width"], turned["tokens.json"]["height"]) == (20, 30)
    detokenize(out, "--out", back)
    assert len(list(back.iterdir())) == len(GOOD)
    if size == "native":
        assert size_of(back / "thin.png") == (1, 50) and size_of(back / "turned.png") == (20, 30)


def test_stop_on_error_writes_no_shard(tokenize, tmp_path):
    (tmp_path / "a.png").write_bytes(GOOD["photo.png"])
    (tmp_path / "b.png").write_bytes(b"")
    said = tokenize(tmp_path, "--out", tmp_path / "out", "--on-error", "stop", code=1)
    assert "b.png: the file is empty (--on-error skip goes on without it)" in said
    assert not list((tmp_path / "out").glob("*.tar"))


def test_nothing_but_failures_is_a_failure(tokenize, tmp_path):
    (tmp_path / "b.png").write_bytes(b"")
    assert "0 tokenized, 1 failed" in tokenize(tmp_path, "--out", tmp_path / "out", code=1)


def test_shards_in_shards_out_with_the_same_names_and_keys(tokenize, detokenize, make_tar, tmp_path):
    for number in range(2):
        png = image_bytes(noise_image(70, 70, number), "PNG")
        make_tar(tmp_path / f"in-{number}.tar", [("x/1.png", png), ("2.jpg", png), ("2.cls", b"5"), ("3.txt", b"5")])
    said = tokenize(tmp_path / "in-{0..1}.tar", "--out", tmp_path / "out")
    assert "2 written" in said and "4 tokenized, 2 failed" in said
    assert list(tokens_of(tmp_path / "out" / "in-1.tar")) == ["x/1", "2"]
    failure = json.loads((tmp_path / "out" / "in-0.json").read_text())["failures"]
    assert failure == [{"key": "3", "source": "3.txt", "reason": "the sample has no file with an image's ending"}]
    detokenize(tmp_path / "out" / "in-1.tar", "--out", tmp_path / "back")
    assert (tmp_path / "back" / "x" / "1.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.png"], "tokenize-images: nothing.png does not exist: give image files"),
        (
            [PHOTOS, "--size", "60"],
            "--size is '60', but must be native, area:N or area:MIN-MAX, or a multiple of 8 such as 256",
        ),
        ([PHOTOS, "--size", "big"], "--size is 'big', but must be native, area:N"),
        ([PHOTOS, "--size", "area:0"], "--size is 'area:0', but must be native, area:N"),
        ([PHOTOS, "--devices", "warp"], "Device 'warp' cannot be used on this machine: use cpu"),
        ([PHOTOS, "--devices", "cpu,"], "--devices is 'cpu,', but must be auto, all, or devices such as cpu or cuda:0"),
        (
            [PHOTOS, "--image-column", "photo"],
            "--image-column is photo, but no input is a parquet file with images: leave it out.",
        ),
        (
            [PHOTOS, "--ray-address", "head:6379"],
            "--ray-address is head:6379, but --engine is local, which has no cluster: give --engine ray too.",
        ),
        ([PHOTOS, "--batch-size", "0"], "--batch-size"),
        ([PHOTOS, "--format", "zip"], "--format"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_2(tokenize, tmp_path, arguments, message):
    said = tokenize(*arguments, "--out", tmp_path / "out", code=2)
    assert message in said and "Traceback" not in said


def test_debug_shows_the_traceback(tmp_path):
    result = CliRunner().invoke(tokenize_app, ["nothing.png", "--out", str(tmp_path), "--debug"])
    assert isinstance(result.exception, ValueError)


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tokenize, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said = tokenize(PHOTOS, "--out", tmp_path, code=1)
    assert "the disk is full" in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())
