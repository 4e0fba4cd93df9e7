"""A shard is done when it was made from exactly these bytes by exactly this tokenizer."""

import errno
import json
import os
import re
import shutil

import pytest

from samples import image_bytes, noise_image
from shard_files import contents
from vistok.images.file_entry import Entry
from vistok.inference.tokenize import collate

BMP = [image_bytes(noise_image(64, 64, index), "BMP") for index in range(4)]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.bmp").write_bytes(BMP[index])
    return folder


def test_a_run_that_was_killed_before_its_first_new_shard_is_not_taken_for_a_whole_one(
    tokenize, verify, photos, tmp_path, monkeypatch
):
    out, call = tmp_path / "out", (photos, "--out", tmp_path / "out", "--shard-size", 2)
    tokenize(*call)
    (photos / "9.bmp").write_bytes(BMP[3])

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vistok.inference.tokenize.run.tokenize_shards", killed)
        tokenize(*call, code=1)
    assert "not whole: 1 problem" in verify(out, code=1)
    assert "manifest.json: is of a tokenize-images command that has not ended" in verify(out, code=1)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["has_ended"]  # what was written before there was such a field is continued too
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert "1 written, 2 done before" in tokenize(*call)
    assert "4 rows in 3 shards" in verify(out) and json.loads((out / "manifest.json").read_text())["has_ended"] is True
    with monkeypatch.context() as patch:  # a call with nothing to make leaves it as it is
        patch.setattr("vistok.inference.tokenize.run.tokenize_shards", killed)
        tokenize(*call, code=1)
    assert "is whole" in verify(out)


@pytest.mark.parametrize("kind", ["tar", "folder"])
def test_inputs_of_equal_size_that_were_replaced_are_detected(tokenize, make_tar, photos, tmp_path, kind):
    shard = make_tar(tmp_path / "s.tar", [("a.bmp", BMP[0])])
    given, changed = (shard, shard) if kind == "tar" else (photos, photos / "1.bmp")
    tokenize(given, "--out", tmp_path / "out")
    before = changed.stat()
    if kind == "tar":
        make_tar(shard, [("a.bmp", BMP[1])])
    else:
        changed.write_bytes(BMP[3])
    assert changed.stat().st_size == before.st_size
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    said = tokenize(given, "--out", tmp_path / "out", code=2)
    assert "was made from other images than those given now: use another --out folder, or --overwrite." in said


def test_a_collection_that_was_copied_or_touched_is_still_done(tokenize, make_tar, photos, tmp_path, monkeypatch):
    make_tar(
        tmp_path / "s.tar", [("a.bmp", BMP[0]), ("a.txt", b"x"), ("b.bmp", b"broken"), ("b.txt", b"y"), ("c.md", b"")]
    )
    (photos / "0.txt").write_bytes(b"caption")
    (photos / "9.bmp").write_bytes(b"")
    tokenize(tmp_path / "s.tar", photos, "--out", tmp_path / "out")
    copied = tmp_path / "copied"
    shutil.copytree(photos, copied / "photos", copy_function=shutil.copyfile)
    shutil.copyfile(tmp_path / "s.tar", copied / "s.tar")
    before = contents(tmp_path / "out")
    assert "0 written, 2 done before" in tokenize(copied / "s.tar", copied / "photos", "--out", tmp_path / "out")
    compared = contents(tmp_path / "out")
    assert {name: content for name, content in compared.items() if name.endswith(".tar")} == {
        name: content for name, content in before.items() if name.endswith(".tar")
    }
    read = []
    with monkeypatch.context() as patch:  # the bytes are compared once, and not by every call
        patch.setattr(Entry, "open", lambda entry: read.append(entry))
        assert "0 written, 2 done before" in tokenize(copied / "s.tar", copied / "photos", "--out", tmp_path / "out")
    assert not read and contents(tmp_path / "out") == compared
    (copied / "photos" / "0.txt").write_bytes(b"another")
    assert "was made from other images" in tokenize(copied / "photos", "--out", tmp_path / "out", code=2)


@pytest.mark.parametrize(
    "before, now, said",
    [
        (["--flip"], [], "with --flip given, not left out"),
        ([], ["--crops", "ten"], "with --crops one, not ten --resize-ratio 1.1"),
        (
            ["--crops", "ten"],
            ["--crops", "ten", "--resize-ratio", 1.05],
            "with --crops ten --resize-ratio 1.1, not ten --resize-ratio 1.05",
        ),
        ([], ["--keep", "none"], "with --keep all, not none"),
        ([], ["--fast"], "with precision float32, not {fast}"),
        ([], ["--size", 32], "by another tokenizer than {model}"),
    ],
)
def test_a_folder_that_lost_its_manifest_takes_no_shard_of_other_settings(
    tokenize, make_tar, tokenizer_folder, tmp_path, before, now, said
):
    shard, out = make_tar(tmp_path / "s.tar", [("a.bmp", BMP[0]), ("a.txt", b"x")]), tmp_path / "out"
    tokenize(shard, "--out", out, *before)
    (out / "manifest.json").unlink()
    left = contents(out)
    told = tokenize(shard, "--out", out, *now, code=2)
    fast = re.search(r"precision float32, not (\w+-eager-\d+): use|$", told)[1]
    said = said.format(model=tokenizer_folder, fast=fast)
    assert f"{out / 's.tar'} was made {said}: use another --out folder, or --overwrite." in told
    assert contents(out) == left
    assert "0 written, 1 done before" in tokenize(shard, "--out", out, *before)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES, errno.ENOENT, None])
def test_errors_of_reading_are_not_errors_of_the_image(tokenize, photos, tmp_path, monkeypatch, code):
    read = Entry.read

    def failing(entry):
        if entry.name == "1.bmp":
            raise MemoryError if code is None else OSError(code, os.strerror(code), entry.path)
        return read(entry)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Entry, "read", failing)
        for _ in range(2):  # the same state, the same answer
            said = tokenize(photos, "--out", out, "--shard-size", 2, code=1)
            cause = f" cannot be read ({os.strerror(code)})" if code else ": the memory is too small for it"
            reason = f"1.bmp{cause}"
            assert f"  not read: {reason}" in said and "0 failures listed" in said
            assert "nothing was written for 1 shard: run the same command again when its files can be read" in said
            assert sorted(path.name for path in out.glob("images*")) == ["images-00001.json", "images-00001.tar"]
        said = tokenize(photos, "--out", tmp_path / "stopped", "--on-error", "stop", code=1)
        assert f"{reason} (--on-error skip goes on with the other shards)" in said
    assert "1 written, 1 done before" in tokenize(photos, "--out", out, "--shard-size", 2)
    tokenize(photos, "--out", tmp_path / "whole", "--shard-size", 2)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_file_that_changes_while_it_is_read_leaves_its_shard_unsealed(tokenize, photos, tmp_path, monkeypatch):
    read = Entry.read

    def changing(entry):
        content = read(entry)
        os.utime(photos / "2.bmp", ns=(1, 1))
        return content

    monkeypatch.setattr(Entry, "read", changing)
    said = tokenize(photos, "--out", tmp_path / "out", code=1)
    assert "not read: images-00000: its input changed while it was read" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]


def test_failed_rows_are_done_again_on_demand(tokenize, photos, tmp_path, monkeypatch):
    listed = tmp_path / "list.txt"
    listed.write_text(
        "".join(f"{photos}/{name}\n" for name in ("0.bmp", "gone.bmp", "1.bmp", "2.bmp")) + "# a comment\n"
    )
    (photos / "2.bmp").write_bytes(b"broken")
    out = tmp_path / "out"
    said = tokenize(listed, "--out", out)
    assert "2 tokenized, 2 failed" in said and f"failed: gone.bmp: does not exist ({listed}, line 2)" in said
    encoded = []
    stack = collate.stack_pixels
    monkeypatch.setattr(collate, "stack_pixels", lambda pixels: encoded.append(len(pixels)) or stack(pixels))
    before = contents(out)
    assert "1 written, 0 done before" in tokenize(listed, "--out", out, "--retry-failures")
    assert contents(out) == before and not encoded  # what had tokens was not encoded again
    (photos / "gone.bmp").write_bytes(BMP[3])
    (photos / "2.bmp").write_bytes(BMP[2])
    said = tokenize(listed, "--out", out, code=2)
    assert "other images than those given now: use --retry-failures, another --out folder, or --overwrite." in said
    assert "4 tokenized, 0 failed" in tokenize(listed, "--out", out, "--retry-failures")
    tokenize(listed, "--out", tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")
    assert "0 written, 1 done before" in tokenize(listed, "--out", out, "--retry-failures")


def test_the_same_state_of_a_folder_gives_the_same_exit_code(tokenize, tmp_path):
    (tmp_path / "a.png").write_bytes(b"broken")
    for _ in range(2):
        tokenize(tmp_path / "a.png", "--out", tmp_path / "out", code=1)


def described(sidecar, shard, file):
    return sidecar | {"shard": shard, "files": [{"name": file, "size": 5, "sha256": ""}]}


def test_overwrite_removes_what_vistok_wrote_and_nothing_else(tokenize, photos, tmp_path):
    out = tmp_path / "out"
    tokenize(photos, "--out", out, "--shard-size", 1)
    mine = {"mine.json": b'{"shard": "mine.tar"}', "mine.tar": b"mine", "x.part": b"mine"}
    for name, content in mine.items():
        (out / name).write_bytes(content)
    precious = tmp_path / "precious.tar"
    precious.write_bytes(b"12345")
    sidecar = json.loads((out / "images-00000.json").read_text())
    for name, shard, file in (("evil", "../precious.tar", "../precious.tar"), ("sly", "sly.tar", "../precious.tar")):
        (out / f"{name}.json").write_text(json.dumps(described(sidecar, shard, file)))
    (out / "images-00001.json").unlink()  # an orphan
    (out / ".vistok-0123456789ab.part").write_bytes(b"left by a kill")
    (out / "linked.json").write_text(json.dumps(described(sidecar, "linked.tar", "linked.tar")))
    (out / "linked.tar").symlink_to(precious)
    said = tokenize(photos / "0.bmp", "--out", tmp_path / "other")
    assert "not of this call" not in said
    tokenize(photos / "0.bmp", "--out", out, "--overwrite")
    assert precious.read_bytes() == b"12345"
    assert {path.name for path in out.iterdir()} == {
        *mine,
        "evil.json",
        "sly.json",
        "linked.tar",
        "manifest.json",
        "images-00000.json",
        "images-00000.tar",
    }


def test_shards_that_are_not_of_this_call_are_named(tokenize, make_tar, photos, tmp_path):
    shards = [make_tar(tmp_path / f"{name}.tar", [("a.bmp", BMP[0])]) for name in "ab"]
    tokenize(*shards, "--out", tmp_path / "out")
    (tmp_path / "out" / "b.json").unlink()
    said = tokenize(shards[0], "--out", tmp_path / "out")
    assert "not of this call: b.tar; --overwrite removes those with a sidecar" in said


def test_an_image_given_twice_is_tokenized_once_and_said(tokenize, make_tar, photos, tmp_path):
    shard = make_tar(tmp_path / "s.tar", [("a.bmp", BMP[0])])
    (photos / "link.bmp").symlink_to("0.bmp")  # another name is another image
    said = tokenize(
        photos, photos / "0.bmp", photos / ".." / "photos" / "1.bmp", shard, shard, "--out", tmp_path / "out"
    )
    assert "5 tokenized" in said and "repeated    3 inputs given again, tokenized once" in said
