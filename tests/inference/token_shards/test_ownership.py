"""What vistok did not write into the folder of the token shards is never replaced."""

import json
import os
import shutil
import tarfile

import pytest

from samples import image_bytes, noise_image
from shard_files import contents
from vistok.inference.token_shards.store import LocalStore

try:
    import pyarrow.parquet as parquet
except ImportError:
    parquet = None

PNG = image_bytes(noise_image(20, 20), "PNG")


@pytest.fixture
def shard(make_tar, tmp_path):
    return make_tar(tmp_path / "s.tar", [("a.png", PNG)])


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_a_tar_of_others_is_not_replaced(tokenize, make_tar, shard, tmp_path, options):
    out = tmp_path / "out"
    out.mkdir()
    mine = make_tar(out / "s.tar", [("mine.png", PNG)]).read_bytes()
    said = tokenize(shard, "--out", out, *options, code=2)
    assert (
        f"{out / 's.tar'} was not written by vistok and would be replaced: move it away, or give another --out folder."
        in said
    )
    assert (out / "s.tar").read_bytes() == mine


@pytest.mark.parametrize(
    ("name", "content"),
    [("s.json", {"images": [], "annotations": []}), ("s.json", [1]), ("manifest.json", {"icons": []})],
)
def test_json_of_others_is_not_replaced(tokenize, shard, tmp_path, name, content):
    out = tmp_path / "out"
    tokenize(shard, "--out", out)
    (out / name).write_text(json.dumps(content))
    assert f"{out / name} was not written by vistok" in tokenize(shard, "--out", out, "--overwrite", code=2)
    assert json.loads((out / name).read_text()) == content and (out / "s.tar").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"[" * 100_000, b"\0" * 600, b'{"shard": "../x.tar"}'])
def test_what_is_damaged_is_made_again(tokenize, shard, tmp_path, content):
    out = tmp_path / "out"
    tokenize(shard, "--out", out)
    whole = (out / "s.json").read_bytes()
    (out / "s.json").write_bytes(content)
    assert "1 written" in tokenize(shard, "--out", out) and (out / "s.json").read_bytes() == whole
    (out / "s.tar").write_bytes(content)
    assert "1 written" in tokenize(shard, "--out", out) and (out / "s.json").read_bytes() == whole


def test_an_input_that_overwrite_would_remove_is_refused(tokenize, make_tar, shard, tmp_path):
    out = tmp_path / "out"
    tokenize(shard, "--out", out)
    (tmp_path / "linked.tar").symlink_to(out / "s.tar")
    said = tokenize(tmp_path / "linked.tar", "--out", out, "--overwrite", code=2)
    assert f"{tmp_path / 'linked.tar'} would be overwritten by {out / 's.tar'}: give another --out folder." in said
    assert (out / "s.tar").exists() and (out / "s.json").exists()


def test_a_fifo_beside_the_shards_is_left_alone(tokenize, detokenize, shard, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("x.json", "x.tar"):
        os.mkfifo(out / name)
    tokenize(shard, "--out", out, "--overwrite")
    detokenize(out, "--out", tmp_path / "back")
    assert f"{out / 'x.tar'} is a fifo, not a file: give token shards" in detokenize(
        out / "x.tar", "--out", tmp_path / "back", code=2
    )


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
@pytest.mark.parametrize("name", ["s.tar", "s.json", "manifest.json", "preview.png"])
@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_a_folder_or_a_fifo_in_the_place_of_an_output_is_not_replaced(tokenize, shard, tmp_path, make, name, options):
    out = tmp_path / "out"
    out.mkdir()
    make(out / name)
    kind = (out / name).stat().st_mode
    said = tokenize(shard, "--out", out, "--preview", 1, *options, code=2)
    assert f"{out / name} was not written by vistok and would be replaced: move it away, or give another" in said
    assert [path.name for path in out.iterdir()] == [name] and (out / name).stat().st_mode == kind


def test_an_image_of_others_is_not_replaced_by_the_preview(tokenize, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    mine = image_bytes(noise_image(8, 8), "PNG")
    (out / "preview.png").write_bytes(mine)
    (tmp_path / "a.png").write_bytes(mine)
    said = tokenize(tmp_path / "a.png", "--out", out, "--preview", 1, code=2)
    assert f"{out / 'preview.png'} was not written by vistok and would be replaced: move it away" in said
    assert (out / "preview.png").read_bytes() == mine
    (out / "preview.png").unlink()
    for _ in range(2):
        tokenize(tmp_path / "a.png", "--out", out, "--preview", 1)


def derive_tar(shard):
    """The first sample of a shard, its files as they are."""
    with tarfile.open(shard) as tar, tarfile.open(shard.with_name("some.tar"), "w", format=tarfile.PAX_FORMAT) as some:
        for member in tar.getmembers()[:2]:
            some.addfile(member, tar.extractfile(member))


def derive_parquet(shard):
    table = parquet.read_table(shard)
    parquet.write_table(table.slice(0, 1), shard.with_name("some.parquet"))
    parquet.write_table(table.append_column("score", [[0.5] * len(table)]), shard.with_name("images-00009.parquet"))


def derive_megatron(shard):
    for suffix in (".bin", ".idx", ".jsonl"):
        shutil.copy(shard.with_suffix(suffix), shard.with_name(f"some{suffix}"))


@pytest.mark.parametrize(
    ("form", "suffix", "derive"),
    [("wds", ".tar", derive_tar), ("parquet", ".parquet", derive_parquet), ("megatron", ".bin", derive_megatron)],
)
def test_overwrite_leaves_what_somebody_made_of_a_shard(tokenize, tmp_path, form, suffix, derive):
    """It has the mark of vistok, as the shard does, but no sidecar, and a name or an encoding of its own."""
    if form == "parquet" and parquet is None:
        pytest.skip("needs pyarrow")
    (tmp_path / "a.png").write_bytes(PNG)
    call = (tmp_path / "a.png", "--out", tmp_path / "out", "--format", form)
    tokenize(*call)
    before = set(contents(tmp_path / "out"))
    derive(tmp_path / "out" / f"images-00000{suffix}")
    derived = {name: content for name, content in contents(tmp_path / "out").items() if name not in before}
    assert derived
    tokenize(*call, "--overwrite")
    after = contents(tmp_path / "out")
    assert after.keys() - before == derived.keys() and after.items() >= derived.items()


def test_a_table_made_of_a_shard_is_not_replaced_under_its_name(tokenize, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.png").write_bytes(PNG)
    call = (tmp_path / "a.png", "--out", tmp_path / "out", "--format", "parquet")
    tokenize(*call)
    shard = tmp_path / "out" / "images-00000.parquet"
    parquet.write_table(parquet.read_table(shard), shard)
    mine = shard.read_bytes()
    for options in ((), ("--overwrite",)):
        assert f"{shard} was not written by vistok and would be replaced" in tokenize(*call, *options, code=2)
        assert shard.read_bytes() == mine


@pytest.mark.parametrize("name", ["s.tar", "other.tar"])
def test_overwrite_that_was_killed_can_be_given_again(tokenize, make_tar, shard, tmp_path, monkeypatch, name):
    """A shard goes before its sidecar, which says whose it is."""
    out = tmp_path / "out"
    tokenize(shard, "--out", out)
    remove = LocalStore.remove

    def killed(store, name):
        remove(store, name)
        if name.endswith(".tar"):
            raise KeyboardInterrupt

    given = make_tar(tmp_path / name, [("a.png", PNG)])
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "remove", killed)
        tokenize(given, "--out", out, "--overwrite", code=1)
    tokenize(given, "--out", out, "--overwrite")
    assert set(contents(out)) == {"manifest.json", name, name.replace(".tar", ".json")}


def test_overwrite_removes_the_pages_of_other_tokens(tokenize, shard, tmp_path):
    out = tmp_path / "out"
    tokenize(shard, "--out", out, "--preview", 1, "--report")
    assert {"tokens.html", "preview.png"} <= contents(out).keys()
    tokenize(shard, "--out", out)
    assert {"tokens.html", "preview.png"} <= contents(out).keys()
    tokenize(shard, "--out", out, "--overwrite")
    assert set(contents(out)) == {"manifest.json", "s.tar", "s.json"}
    for name, mine in (("tokens.html", b"<html>mine</html>"), ("preview.png", PNG)):
        (out / name).write_bytes(mine)
        tokenize(shard, "--out", out, "--overwrite")
        assert (out / name).read_bytes() == mine
