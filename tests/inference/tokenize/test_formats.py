"""tokenize-images, resuming and detokenize-images do the same with every format."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from samples import image_bytes, noise_image, stored_samples
from shard_files import FORMATS
from vistok.inference.token_shards.formats import SHARD_FORMATS

OTHERS = [param for param in FORMATS if param.values != ("wds",)]
each_format = pytest.mark.parametrize("name", FORMATS)
each_other = pytest.mark.parametrize("name", OTHERS)


@pytest.fixture
def inputs(make_tar, tmp_path):
    """Loose images of several sizes, one with a caption and one broken, and a tar with a caption."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        (folder / f"{index}.png").write_bytes(image_bytes(noise_image(70 + 8 * index, 64, index), "PNG"))
    (folder / "3.png").write_bytes(b"broken")
    (folder / "0.txt").write_text("caption")
    png = (folder / "1.png").read_bytes()
    tar = make_tar(tmp_path / "a.tar", [("k.png", png), ("k.json", b"{}"), ("k.seg.png", png), ("l.png", png)])
    return [folder, tar]


@pytest.fixture
def call(tokenize, inputs, tmp_path):
    def run(name, out="out", *options, code=0):
        return tokenize(
            *inputs,
            "--out",
            tmp_path / out,
            "--shard-size",
            2,
            "--size",
            "native",
            "--format",
            name,
            *options,
            code=code,
        )

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(folder):
    return {path.name: np.asarray(Image.open(path)).tobytes() for path in folder.rglob("*.png")}


def suffixes(name):
    return SHARD_FORMATS[name].suffixes


@each_other
def test_another_format_is_the_same_collection(name, call, detokenize, tmp_path):
    for form in ("wds", name):
        said = call(form, form)
        assert "4 written" in said and "7 tokenized, 1 failed" in said
        detokenize(tmp_path / form, "--out", tmp_path / f"{form}-back")
    assert len(pixels(tmp_path / "wds-back")) == 7
    assert pixels(tmp_path / f"{name}-back") == pixels(tmp_path / "wds-back")
    assert {path.suffix for path in (tmp_path / name).iterdir()} == {".json", *suffixes(name)}
    for shard in ("a", "images-00001"):
        one, other = (json.loads((tmp_path / form / f"{shard}.json").read_text()) for form in ("wds", name))
        assert {key for key in one if one[key] != other[key]} == {"shard", "files"}
        assert [file["name"] for file in other["files"]] == [shard + suffix for suffix in suffixes(name)]
        shards = [stored_samples(tmp_path / form / f"{shard}{suffixes(form)[0]}") for form in ("wds", name)]
        for mine, theirs in zip(*shards, strict=True):
            assert mine.key == theirs.key and mine.metadata() == theirs.metadata()
            assert mine.tokens().dtype == theirs.tokens().dtype and np.array_equal(mine.tokens(), theirs.tokens())
    one, other = (json.loads((tmp_path / form / "manifest.json").read_text()) for form in ("wds", name))
    assert {key for key in one if one[key] != other[key]} == {"format"}


@each_format
def test_whatever_a_kill_leaves_the_same_call_ends_with_the_same_bytes(name, call, detokenize, tmp_path):
    call(name)
    out = tmp_path / "out"
    whole = contents(out)
    assert "0 written, 4 done before" in call(name)
    files = [f"a{suffix}" for suffix in suffixes(name)]
    for count in range(
        len(files) + 1
    ):  # the files are put in their places from the last to the first, then the sidecar
        for older in (None, b"older"):
            (out / "a.json").unlink()
            for file in files[:count]:
                (out / file).unlink() if older is None else (out / file).write_bytes(older)
            if count < len(files) or older is None:
                assert "1 written, 3 done before" in call(name)
            else:
                for file in files:  # which nobody can have left
                    (out / file).write_bytes(b"")
                assert "1 written" in call(name)
            assert contents(out) == whole
    for file in files:
        (out / file).write_bytes(whole[file][:-3])
        assert "1 written, 3 done before" in call(name)
        assert contents(out) == whole
        (out / file).unlink()
        assert "1 written, 3 done before" in call(name)
        assert contents(out) == whole


@each_format
def test_damage_of_each_file_is_one_sentence(name, call, detokenize, tmp_path):
    call(name)
    out = tmp_path / "out"
    for index, suffix in enumerate(suffixes(name)):
        shard = tmp_path / f"damaged-{index}"
        shutil.copytree(out, shard)
        content = bytearray((shard / f"a{suffix}").read_bytes())
        content[len(content) // 2] ^= 4
        (shard / f"a{suffix}").write_bytes(content)
        said = detokenize(shard, "--out", tmp_path / f"back-{index}", code=1)
        assert (
            f"damaged: {shard / f'a{suffix}'} does not match its sidecar (SHA-256): remove it and tokenize it" in said
        )
        assert len(pixels(tmp_path / f"back-{index}")) == 5
        (shard / f"a{suffix}").unlink()
        said = detokenize(shard, "--out", tmp_path / f"back-{index}-2", code=1)
        assert f"damaged: {shard / f'a{suffix}'} cannot be read (No such file or directory): tokenize it again." in said
        (shard / f"a{suffix}").write_bytes(bytes(content[: len(content) // 2]))
        (shard / "a.json").unlink()
        first = shard / f"a{suffixes(name)[0]}"
        said = detokenize(first, "--out", tmp_path / f"back-{index}-3", code=1)
        assert f"damaged: {first} is not a whole token shard (" in said
        assert said.rstrip().endswith("): remove it and tokenize it again.")


@each_format
def test_any_file_of_a_shard_names_it_and_no_other_file_does(name, call, detokenize, tmp_path):
    call(name)
    files = [tmp_path / "out" / f"a{suffix}" for suffix in suffixes(name)]
    assert "2 images from 1 shard" in detokenize(*files, "--out", tmp_path / "back")
    said = detokenize(tmp_path / "out" / "a.json", "--out", tmp_path / "back-2", code=1)
    assert f"{tmp_path / 'out' / 'a.json'} is not a whole token shard (" in said


@each_format
def test_files_of_others_stay(name, call, tmp_path):
    out = tmp_path / "out"
    for suffix in suffixes(name):
        out.mkdir()
        mine = {f"a{suffix}": foreign(suffix, tmp_path), "mine.tar": foreign(".tar", tmp_path), "mine.bin": b"weights"}
        for file, content in mine.items():
            (out / file).write_bytes(content)
        for options in ((), ("--overwrite",)):
            said = call(name, "out", *options, code=2)
            assert f"{out / f'a{suffix}'} was not written by vistok and would be replaced: move it away" in said
            assert contents(out) == mine
        (out / f"a{suffix}").unlink()
        call(name)
        call(name, "out", "--overwrite")
        call("wds", "out", "--overwrite")
        assert {path.name for path in out.iterdir() if path.suffix not in (".json", ".tar")} == {"mine.bin"}
        assert (out / "mine.tar").read_bytes() == mine["mine.tar"]
        shutil.rmtree(out)


def foreign(suffix, folder):
    """A file of another program."""
    if suffix == ".tar":
        import tarfile

        with tarfile.open(folder / "foreign.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo("x.txt"))
        return (folder / "foreign.tar").read_bytes()
    if suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.table({"text": ["mine"]}), folder / "foreign.parquet")
        return (folder / "foreign.parquet").read_bytes()
    return b'{"text": "mine"}\n'


@each_format
def test_a_collection_grows(name, call, inputs, tmp_path):
    call(name)
    before = contents(tmp_path / "out")
    (inputs[0] / "0a.png").write_bytes(image_bytes(noise_image(64, 64, 9), "PNG"))
    assert "new         1 image" in call(name)
    after = contents(tmp_path / "out")
    assert {file for file in before if after[file] != before[file]} == {"manifest.json"}
    assert set(after) - set(before) == {f"images-00003{suffix}" for suffix in (".json", *suffixes(name))}


@each_other
def test_failures_are_tried_again_without_encoding_the_rest(name, call, inputs, tmp_path):
    call(name)
    (inputs[0] / "3.png").write_bytes(image_bytes(noise_image(64, 64, 3), "PNG"))
    assert "0 failed" in call(name, "out", "--retry-failures")
    call(name, "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@each_format
def test_a_folder_behind_a_url_has_the_same_files(name, call, tokenize, detokenize, inputs, tmp_path):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    url = f"memory://formats-{name}-{tmp_path.name}"
    call(name)
    for expected in ("4 written, 0 done before", "0 written, 4 done before"):
        options = ("--shard-size", 2, "--size", "native", "--format", name)
        assert expected in tokenize(*inputs, "--out", url, *options)
    there = {path.rpartition("/")[2]: memory.cat_file(path) for path in memory.ls(url.partition(":/")[2], detail=False)}
    assert there == contents(tmp_path / "out")
    detokenize(url, "--out", tmp_path / "back")
    assert len(pixels(tmp_path / "back")) == 7


@pytest.mark.parametrize("command", ["tokenize", "detokenize"])
def test_parquet_without_pyarrow_is_a_sentence(command, tokenize, detokenize, inputs, tmp_path, monkeypatch):
    out, find_spec = tmp_path / "out", importlib.util.find_spec
    if command == "detokenize":
        tokenize(*inputs, "--out", out)
        manifest = json.loads((out / "manifest.json").read_text())
        (out / "manifest.json").write_text(json.dumps(manifest | {"format": "parquet"}))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find_spec(name))
    if command == "tokenize":
        said = tokenize(*inputs, "--out", out, "--format", "parquet", code=2)
        assert not out.exists()
    else:
        said = detokenize(out, "--out", tmp_path / "back", code=2)
    assert "Parquet shards need the package pyarrow: pip install '.[parquet]' in vistok's checkout." in said
