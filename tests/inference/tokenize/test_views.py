"""Ten crops and mirror images as rows of shards: tokens, keys, failures, resuming, and back to images."""

import json
import os
import tarfile

import numpy as np
import pytest
from PIL import Image, ImageOps

import vistok
from samples import ARCHITECTURE, image_bytes, noise_image, small_tokenizer, stored_samples
from vistok.inference.inputs import process_readers, readers
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.views import Views
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.tokenize.engines.table import ENGINES
from vistok.inference.tokenize.job import Job
from vistok.inference.tokenize.results import tokenize_shards
from vistok.inference.tokenize.run import PREVIEW_FILE
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

CROPS = ["top-left", "top-right", "bottom-left", "bottom-right", "middle"]
TEN = [*CROPS, *(f"{name}-flipped" for name in CROPS)]


@pytest.fixture
def shard(make_tar, tmp_path):
    members = []
    for index in range(4):
        members += [(f"{index}.png", image_bytes(noise_image(80 + index, 70, index), "PNG")), (f"{index}.cls", b"7")]
    return make_tar(tmp_path / "s.tar", [*members, ("broken.png", b"broken")])


def rows(path):
    return {sample.key: sample for sample in stored_samples(path)}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_ten_rows_for_each_image(tokenize, shard, tokenizer_folder, tmp_path, monkeypatch):
    decoded = []
    load = readers.read_image
    monkeypatch.setattr(
        readers, "read_image", lambda sample, **options: decoded.append(sample) or load(sample, **options)
    )
    out = tmp_path / "out"
    said = tokenize(shard, "--out", out, "--crops", "ten", "--preview", 12)
    assert len(decoded) == 5
    assert (
        "images      4 tokenized, 1 failed" in said
        and f"rows        40 written, 10 per image: {', '.join(TEN)}" in said
    )
    assert f"in {out}: 4 images as 40 rows in 1 shard, 1 failure listed" in said
    found = rows(out / "s.tar")
    assert list(found) == [f"{index}_{view}" for index in range(4) for view in TEN]
    sidecar = json.loads((out / "s.json").read_text())
    assert (sidecar["images"], sidecar["rows"]) == (4, 40)
    assert [row["key"] for row in sidecar["failures"]] == ["broken"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["images"], manifest["rows"]) == (4, 40)
    assert manifest["views"] == {"crops": "ten", "resize_ratio": 1.1, "flip": False}
    tokenizer = vistok.load(tokenizer_folder)
    for index in range(4):
        image = noise_image(80 + index, 70, index)  # 70 is the side of the larger square
        left = (10 + index) // 2
        square = np.asarray(image)[:, left : left + 70]
        for view, pixels in {
            "bottom-right": square[6:, 6:],
            "top-left-flipped": square[:64, :64][:, ::-1],
            "middle": square[3:67, 3:67],
        }.items():
            sample = found[f"{index}_{view}"]
            assert np.array_equal(sample.tokens(), tokenizer.encode(np.ascontiguousarray(pixels))[0].numpy())
            assert (sample.metadata()["view"], sample.metadata()["source"]) == (view, f"{index}.png")
            assert (sample.metadata()["width"], sample.metadata()["height"]) == image.size
    assert (out / PREVIEW_FILE).exists()


def test_each_row_has_the_companions_of_its_image(tokenize, shard, tmp_path):
    tokenize(shard, "--out", tmp_path / "out", "--flip")
    with tarfile.open(tmp_path / "out" / "s.tar") as tar:
        labels = {name: tar.extractfile(name).read() for name in tar.getnames() if name.endswith(".cls")}
    assert labels == {f"{index}_{view}.cls": b"7" for index in range(4) for view in ("original", "flipped")}


def test_no_byte_depends_on_batches_readers_or_kills(tokenize, shard, tmp_path):
    tokenize(shard, "--out", tmp_path / "a", "--crops", "ten")
    expected = files(tmp_path / "a")
    for index, options in enumerate(
        (["--batch-size", 3], ["--batch-size", 64, "--workers", 1], ["--max-batch-tokens", 65])
    ):
        tokenize(shard, "--out", tmp_path / f"b{index}", "--crops", "ten", *options)
        assert files(tmp_path / f"b{index}") == expected
    (tmp_path / "a" / "s.json").unlink()  # as a kill leaves it
    tokenize(shard, "--out", tmp_path / "a", "--crops", "ten")
    assert files(tmp_path / "a") == expected
    assert "0 written, 1 done before" in tokenize(shard, "--out", tmp_path / "a", "--crops", "ten")
    shard.touch()
    assert "0 written, 1 done before" in tokenize(shard, "--out", tmp_path / "a", "--crops", "ten")


@pytest.mark.skipif(os.name != "posix", reason="needs descriptors that processes inherit")
def test_crops_stay_in_the_memory_that_processes_share(tokenizer_folder, shard, tmp_path, monkeypatch):
    """A place in that memory is free again when the last crop of its image is encoded; here there are two of them."""
    monkeypatch.setattr(process_readers, "SHARED_BYTES", 2 * 3 * 70 * 70)
    tokenizer = vistok.load(tokenizer_folder)
    plan = plan_shards([str(shard)], 9)
    for name in ("threads", "processes"):
        manifest = new_manifest(tokenizer, "small", "float32", "wds", "all", Views(crops="ten"))
        store = LocalStore(tmp_path / name)
        job = Job(store, manifest, tokenizer, SHARD_FORMATS["wds"], 3, 2, 2, reads_in_processes=name == "processes")
        assert tokenize_shards(plan.shards, job, ENGINES["local"]).rows == 40
    assert files(tmp_path / "threads") == files(tmp_path / "processes")


def test_retried_failures_take_over_the_rows_of_the_others(tokenize, shard, tmp_path, monkeypatch):
    out = tmp_path / "out"
    tokenize(shard, "--out", out, "--crops", "ten")
    before = (out / "s.tar").read_bytes()
    decoded = []
    load = readers.read_image
    monkeypatch.setattr(
        readers, "read_image", lambda sample, **options: decoded.append(sample) or load(sample, **options)
    )
    said = tokenize(shard, "--out", out, "--crops", "ten", "--retry-failures")
    assert [sample.key for sample in decoded] == ["broken"]
    assert "images      0 tokenized, 1 failed" in said and "rows        0 written" in said
    assert (out / "s.tar").read_bytes() == before


def test_a_collection_that_grows(tokenize, tmp_path):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for index in (1, 3, 5):
        (folder / f"{index}.png").write_bytes(image_bytes(noise_image(80, 70, index), "PNG"))
    tokenize(folder, "--out", out, "--shard-size", 2, "--flip")
    before = files(out)
    (folder / "0.png").write_bytes(image_bytes(noise_image(80, 70), "PNG"))
    said = tokenize(folder, "--out", out, "--shard-size", 2, "--flip")
    assert "1 written, 2 done before" in said and "new         1 image since the last call" in said
    assert all(files(out)[name] == content for name, content in before.items() if name != "manifest.json")
    assert list(rows(out / "images-00002.tar")) == ["0_original", "0_flipped"]


def test_images_come_back_under_the_keys_of_their_rows(tokenize, detokenize, tmp_path):
    save_tokenizer(tmp_path / "model", small_tokenizer(), ARCHITECTURE, PreprocessingConfig(size="native"), "")
    model = {"model": tmp_path / "model"}
    (tmp_path / "in").mkdir()
    image = noise_image(43, 30)
    (tmp_path / "in" / "x.png").write_bytes(image_bytes(image, "PNG"))
    tokenize(tmp_path / "in", "--out", tmp_path / "out", "--flip", **model)
    found = rows(tmp_path / "out" / "images-00000.tar")
    tokenizer = vistok.load(tmp_path / "model")
    for view, pixels in {"original": image, "flipped": ImageOps.mirror(image)}.items():
        assert np.array_equal(found[f"x_{view}"].tokens(), tokenizer.encode(pixels)[0].numpy())
    said = detokenize(tmp_path / "out", "--out", tmp_path / "back", **model)
    assert "2 images from 1 shard" in said
    sizes = {}
    for path in (tmp_path / "back").glob("*.png"):
        with Image.open(path) as back:
            sizes[path.name] = back.size
    assert sizes == {"x_original.png": (43, 30), "x_flipped.png": (43, 30)}


def test_another_setting_is_refused(tokenize, shard, tmp_path):
    tokenize(shard, "--out", tmp_path / "out", "--crops", "ten")
    for options, difference in {
        (): "--crops ten --resize-ratio 1.1, not one",
        ("--flip",): "--crops ten --resize-ratio 1.1, not one and --flip left out, not given",
        ("--crops", "ten", "--resize-ratio", 1.05): "--crops ten --resize-ratio 1.1, not ten --resize-ratio 1.05",
    }.items():
        said = tokenize(shard, "--out", tmp_path / "out", *options, code=2)
        assert f"was made with {difference}: use another --out folder, or --overwrite." in said


def test_sizes_that_have_no_ten_crops(tokenize, shard, tmp_path):
    said = tokenize(shard, "--out", tmp_path / "out", "--crops", "ten", "--size", "native", code=2)
    assert (
        "--crops ten cuts squares of one size, but the size is native: give --size a number, or leave --crops out."
        in said
    )
    padded = PreprocessingConfig(size=64, crop="none")
    save_tokenizer(tmp_path / "model", small_tokenizer(), ARCHITECTURE, padded, "")
    said = tokenize(shard, "--out", tmp_path / "out", "--crops", "ten", model=tmp_path / "model", code=2)
    assert "this model's preprocessing pads the whole image to one: leave --crops out, or choose another model." in said
    said = tokenize(shard, "--out", tmp_path / "out", "--crops", "ten", "--flip", code=2)
    assert "leave --flip out" in said and not (tmp_path / "out").exists()
