"""An output folder behind a URL: the same files as in a local one, whatever the store does on the way."""

import json
import re

import fsspec
import pytest

from flaky_filesystem import FlakyFileSystem
from hub_server import TOKEN
from samples import image_bytes, noise_image
from shard_files import contents
from vistok.inference.inputs.input_files import UnreadableInputError
from vistok.inference.inputs.loose_images import LooseSource
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.token_shards import remote_store
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.marker import Pace
from vistok.inference.token_shards.store import open_store
from vistok.inference.tokenize.batching import shard_samples

URL = "flaky://bucket/tokens"
pytestmark = pytest.mark.usefixtures("quick_store")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(7):
        (folder / f"{index}.png").write_bytes(image_bytes(noise_image(70, 64, index), "PNG"))
    (folder / "3.png").write_bytes(b"broken")
    (folder / "0.txt").write_text("caption")
    return folder


def remote_files(folder="/bucket/tokens"):
    return {path.removeprefix(f"{folder}/"): file.getvalue() for path, file in FlakyFileSystem.store.items()}


@pytest.fixture
def expected(tokenize, photos, tmp_path):
    tokenize(photos, "--out", tmp_path / "local", "--shard-size", 2, "--preview", 2)
    return contents(tmp_path / "local")


def test_a_remote_folder_has_the_files_of_a_local_one(tokenize, detokenize, photos, expected, tmp_path):
    call = (photos, "--shard-size", 2, "--preview", 2, "--out", URL)
    said = tokenize(*call)
    assert (
        "4 written" in said and f"in {URL}: 6 images in 4 shards" in said and f"preview     {URL}/preview.png" in said
    )
    assert remote_files() == expected
    # Resuming does what is missing, and nothing else.
    for name in ("images-00001.json", "images-00002.tar"):
        del FlakyFileSystem.store[f"/bucket/tokens/{name}"]
    assert "2 written, 2 done before" in tokenize(*call) and remote_files() == expected
    assert "0 written, 4 done before" in tokenize(*call)
    # The images come back from it as from a local one, from all shards or from one.
    assert "6 images from 4 shards" in detokenize(URL, "--out", tmp_path / "a")
    detokenize(tmp_path / "local", "--out", tmp_path / "b")
    detokenize(f"{URL}/images-00000.tar", "--out", tmp_path / "c")
    back = contents(tmp_path / "b")
    assert contents(tmp_path / "a") == back and contents(tmp_path / "c") == {
        name: back[name] for name in ("0.png", "1.png")
    }
    # --overwrite removes what vistok wrote, and a file of others is never replaced.
    tokenize(photos / "1.png", "--out", URL, "--overwrite")
    assert sorted(remote_files()) == ["images-00000.json", "images-00000.tar", "manifest.json"]
    FlakyFileSystem().pipe_file(f"{URL}/images-00000.json", b'{"mine": 1}')
    assert f"{URL}/images-00000.json was not written by vistok" in tokenize(photos / "1.png", "--out", URL, code=2)


@pytest.mark.parametrize("name", SHARD_FORMATS)
def test_every_format_is_the_same_behind_a_url(tokenize, detokenize, photos, tmp_path, name):
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'vistok[parquet]'")
    call = (photos, "--shard-size", 3, "--format", name)
    tokenize(*call, "--out", tmp_path / "local")
    FlakyFileSystem.fraction = 0.05
    tokenize(*call, "--out", URL)
    assert remote_files() == contents(tmp_path / "local")
    # A sidecar without one of its files is no shard.
    FlakyFileSystem.store.pop(f"/bucket/tokens/images-00001{SHARD_FORMATS[name].suffixes[-1]}")
    assert "1 written, 2 done before" in tokenize(*call, "--out", URL)
    assert remote_files() == contents(tmp_path / "local")
    detokenize(URL, "--out", tmp_path / "back")
    assert len(list((tmp_path / "back").iterdir())) == 6


def test_a_collection_grows_on_a_remote_folder(tokenize, photos):
    tokenize(photos, "--out", URL, "--shard-size", 3)
    before = remote_files()
    (photos / "9.png").write_bytes(image_bytes(noise_image(64, 64, 9), "PNG"))
    assert "new         1 image" in tokenize(photos, "--out", URL, "--shard-size", 3)
    assert {name: content for name, content in remote_files().items() if name in before} | {"manifest.json": b""} == (
        before | {"manifest.json": b""}
    )


def test_a_sidecar_is_removed_first_and_put_last(tokenize, photos, expected):
    put = []
    FlakyFileSystem.after_put = lambda path: put.append((path.rpartition("/")[2], set(remote_files())))
    call = (photos, "--shard-size", 2, "--preview", 2, "--out", URL)
    tokenize(*call)
    names = [name for name, _ in put if name.startswith("images-")]
    assert names == [f"images-0000{index}.{ending}" for index in range(4) for ending in ("tar", "json")]
    # A shard with a failure is made again: between the two the old sidecar is not there.
    put.clear()
    assert "1 written" in tokenize(*call, "--retry-failures")
    ((_, there),) = [row for row in put if row[0] == "images-00001.tar"]
    assert "images-00001.json" not in there and remote_files() == expected


@pytest.mark.parametrize("fraction", [0.05, 0.15])
def test_a_flaky_store_loses_nothing(tokenize, detokenize, photos, expected, tmp_path, fraction):
    FlakyFileSystem.reset(fraction)
    tokenize(photos, "--shard-size", 2, "--preview", 2, "--out", URL)
    assert FlakyFileSystem.faults
    assert remote_files() == expected
    detokenize(URL, "--out", tmp_path / "back")
    assert len(list((tmp_path / "back").iterdir())) == 6


@pytest.mark.parametrize("last", ["images-00000.json", "images-00001.tar", "manifest.json"])
def test_a_store_that_vanishes_is_one_sentence_and_nothing_is_lost(tokenize, photos, expected, last):
    def vanish(path):
        FlakyFileSystem.is_gone = path.endswith(last)

    FlakyFileSystem.after_put = vanish
    call = (photos, "--shard-size", 2, "--preview", 2, "--out", URL)
    said = tokenize(*call, code=1).strip().splitlines()[-1]
    assert said.startswith("tokenize-images: failed 8 times in ") and f"with: Connection refused ({URL}" in said
    assert said.endswith("): run the same command again when it answers.")
    FlakyFileSystem.is_gone, FlakyFileSystem.after_put = False, None
    if last == "images-00001.tar":  # it was cut off from its sidecar, and is named
        assert "images-00001" in said and "images-00001.json" not in remote_files()
    assert "4 written" in tokenize(*call) or last != "manifest.json"
    assert remote_files() == expected


@pytest.mark.parametrize("refused", ["images-00001.tar", "images-00001.json"])
def test_a_shard_that_a_store_does_not_take_is_left_unsealed_and_named(
    tokenize, photos, expected, monkeypatch, refused
):
    put = FlakyFileSystem.pipe_file

    def refuse(self, path, *arguments, **options):
        if path.endswith(refused):
            raise ConnectionResetError(104, "Connection reset by peer")
        return put(self, path, *arguments, **options)

    call = (photos, "--shard-size", 2, "--preview", 2, "--out", URL)
    with monkeypatch.context() as patch:
        patch.setattr(FlakyFileSystem, "pipe_file", refuse)
        said = re.sub(r"in \d+ s", "in N s", tokenize(*call, code=1))
        assert "3 written, 0 done before" in said
        assert f"  not written: {URL}/{refused} cannot be written (failed 8 times in N s, the last time with: " in said
        assert "nothing was sealed of 1 shard: run the same command again when its files can be written" in said
        assert "images-00001.json" not in remote_files() and "images-00003.json" in remote_files()
        said = tokenize(*call, "--json", code=1)
        found = json.loads(said[said.index("{") : said.rindex("}") + 1])
        assert found["shards"]["written"] == 0 and len(found["unwritten"]) == 1
        sound = [photos / f"{index}.png" for index in (0, 1, 2, 4)]
        said = tokenize(*sound, "--shard-size", 2, "--out", f"{URL}/b", "--on-error", "stop", code=1)
        assert f"({URL}/b/{refused}): run the same" in said
    FlakyFileSystem().rm(f"{URL}/b", recursive=True)
    assert "1 written, 3 done before" in tokenize(*call)
    assert remote_files() == expected


def test_a_shard_whose_inputs_cannot_be_asked_for_is_left_unsealed_and_named(tokenize, photos, monkeypatch):
    def refuse(source):
        raise ConnectionResetError(104, "Connection reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(LooseSource, "digest", refuse)
        said = tokenize(photos, "--out", URL, code=1)
    assert "not read: images-00000 cannot be read (Connection reset by peer)" in said
    assert list(remote_files()) == ["manifest.json"]
    tokenize(photos, "--out", URL)


def test_a_store_that_vanishes_is_asked_for_no_shard_after_another(photos):
    """Each would wait for it in vain; a shard alone that cannot be read again is left out."""
    asked, tasks = [], plan_shards([str(photos)], 2).shards

    def vanished(task):
        asked.append(task.name)
        raise OSError(5, "gone", URL)

    def refused(task):
        raise UnreadableInputError(f"{task.name} cannot be read")

    with pytest.raises(OSError, match="gone"):
        list(shard_samples(tasks, vanished, lambda work: None))
    assert asked == ["images-00000"]
    found = list(shard_samples(tasks, refused, lambda work: None))
    assert [(work.unread, sample) for work, sample in found] == [
        (f"{task.name} cannot be read", None) for task in tasks
    ]


def test_a_shard_that_cannot_be_reused_is_left_unsealed_and_named(tokenize, photos, monkeypatch):
    tokenize(photos, "--out", URL)
    whole = remote_files()
    read = FlakyFileSystem.cat_file

    def refuse(self, path, *arguments, **options):
        if path.endswith(".tar"):
            raise ConnectionResetError(104, "Connection reset by peer")
        return read(self, path, *arguments, **options)

    monkeypatch.setattr(FlakyFileSystem, "cat_file", refuse)
    said = tokenize(photos, "--out", URL, "--retry-failures", code=1)
    assert "not read: images-00000 cannot be read (failed 8 times in" in said
    assert "nothing was written for 1 shard: run the same command again" in said and remote_files() == whole


def test_two_commands_never_write_to_one_url(tokenize, photos):
    with open_store(URL).hold("tokenize-images"):
        said = tokenize(photos, "--out", URL, code=2)
    assert (
        f"{URL} is being written to by tokenize-images (pid " in said and "taken over 0 s after its last sign" in said
    )
    tokenize(photos, "--out", URL)


def test_what_cannot_be_written_to_is_refused(tokenize, photos, monkeypatch):
    said = tokenize(photos, "--out", "https://example.org/x", code=2)
    assert "--out is https://example.org/x, which can be read only: give a folder, or a URL such as s3://." in said
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    said = tokenize(photos, "--out", "gs://b/x", code=2)
    assert (
        "tokenize-images: gs://b/x needs the package gcsfs: pip install gcsfs, and run the same command again." in said
    )
    monkeypatch.setattr(FlakyFileSystem, "pipe_file", lambda *arguments: (_ for _ in ()).throw(NotImplementedError))
    assert f"{URL} can be read only, as fsspec has no writing for it: give" in tokenize(photos, "--out", URL, code=2)
    monkeypatch.undo()
    monkeypatch.setattr(
        FlakyFileSystem, "ls", lambda *arguments, **options: (_ for _ in ()).throw(PermissionError("no"))
    )
    assert f"no ({URL}): check its credentials, or take another URL." in tokenize(photos, "--out", URL, code=1)


def test_a_url_of_this_machine_is_a_folder(tokenize, photos, tmp_path):
    tokenize(photos, "--out", f"file://{tmp_path / 'out'}")
    assert (tmp_path / "out" / "manifest.json").exists()


def test_the_memory_of_fsspec_is_a_store(tokenize, photos, expected):
    tokenize(photos, "--shard-size", 2, "--preview", 2, "--out", "memory://deep/er")
    filesystem = fsspec.filesystem("memory")
    try:
        there = {path.rpartition("/")[2]: filesystem.cat_file(path) for path in filesystem.find("/deep")}
    finally:
        filesystem.rm("/deep", recursive=True)
    assert there == expected


def test_the_hub_gets_a_commit_for_each_shard(hub, tokenize, detokenize, photos, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(remote_store, "HUB_PACE", Pace(beat=60, stale=60, settle=0, watches=False))
    hub.add("me/tokens", {"README.md": b"mine"})
    url = "hf://datasets/me/tokens/f8"
    call = (photos, "--shard-size", 2, "--preview", 2, "--out", url)
    assert "4 written" in tokenize(*call)
    files = hub.commits["me/tokens", hub.revisions["me/tokens", "main"]]
    assert files == {f"f8/{name}": content for name, content in expected.items()} | {"README.md": b"mine"}
    shards = [names for names in hub.received if len(names) > 1]
    assert shards == [[f"f8/images-0000{index}.json", f"f8/images-0000{index}.tar"] for index in range(4)]
    assert "0 written, 4 done before" in tokenize(*call)
    assert "6 images from 4 shards" in detokenize(url, "--out", tmp_path / "back")
