"""What is behind a URL is listed as the same files on this machine, each byte of a tar read once."""

import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from hub_server import TOKEN
from s3_server import serve_s3
from samples import image_bytes, noise_image
from token_folders import samples_of, write_shard
from vistok.inference.inputs.plan import plan_shards
from vistok.tokenizer.retries import StillFailingError

PNG = image_bytes(noise_image(8, 8), "PNG")


@pytest.fixture
def photos(tmp_path, make_tar):
    """A folder of images, captions and a tar, and the same behind memory://."""
    folder = tmp_path / "photos"
    for name in ("b.png", "a.png", "a.txt", "sub/c.png", "sub/note.md", "x.y.png", "a.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PNG if name.endswith(("png", "jpg")) else b"a caption")
    members = [
        ("1.png", PNG),
        ("1.txt", b"one"),
        ("2.png", bytes(3 << 20)),
        ("2.seg.png", bytes(1 << 15)),
        ("3.txt", b"no image"),
    ]
    make_tar(folder / "s-0.tar", members)
    make_tar(folder / "s-1.tar", members[:2])
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    for path in filter(Path.is_file, folder.rglob("*")):
        filesystem.pipe(f"/photos/{path.relative_to(folder)}", path.read_bytes())
    yield folder
    filesystem.store.clear()


def content(plan):
    """Everything that a plan will tokenize."""
    found = {}
    for task in plan.shards:
        listing = task.source.list_samples()
        samples = list(listing.samples)
        rows = [
            (
                sample.key,
                sample.source,
                sample.problem,
                sample.entry and sample.entry.read(),
                sample.entry and sample.entry.open().read(),
                [(each.extension, each.open().read()) for each in sample.companions],
            )
            for sample in samples
        ]
        found[task.name] = rows, listing.passed_over, listing.fraction()
    return found, plan.passed_over, plan.repeated


@pytest.mark.parametrize(
    "given",
    [
        ["{}"],
        ["{}/s-{{0..1}}.tar"],
        ["{}/a.png", "{}/sub", "{}/sub/c.png"],
        ["{}/s-1.tar", "{}/b.png", "{}/s-1.tar"],
    ],
)
def test_a_url_gives_what_a_path_gives(photos, given):
    local, remote = ([text.format(root) for text in given] for root in (photos, "memory://photos"))
    if any("a.png" in text for text in given):  # a caption is looked for in a folder that is listed
        (photos / "a.txt").unlink()
        (photos / "a.jpg").unlink()
    assert content(plan_shards(remote, 2)) == content(plan_shards(local, 2))


def test_a_remote_folder_is_looked_into_as_a_local_one_is(photos, tmp_path, make_tar):
    """Tars of vistok and tables without images are passed over, and a table of images beside a folder is read."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="parquet files need pyarrow")
    pa, filesystem = pytest.importorskip("pyarrow"), fsspec.filesystem("memory")
    write_shard(photos, "wds", "images-00000", samples_of(0, 2))
    write_shard(photos, "parquet", "images-00001", samples_of(1, 2))
    make_tar(photos / "empty.tar", [])
    (photos / "void.tar").touch()
    for name, columns in (
        ("sub.parquet", {"image": [PNG]}),
        ("labels.parquet", {"label": [1]}),
        ("s-0.parquet", {"image": [PNG]}),
    ):
        parquet.write_table(pa.table(columns), photos / name)
    (photos / "broken.parquet").write_bytes(b"PAR1")
    for path in filter(Path.is_file, photos.rglob("*")):
        filesystem.pipe(f"/photos/{path.relative_to(photos)}", path.read_bytes())
    local, remote = plan_shards([str(photos)], 10), plan_shards(["memory://photos"], 10)
    names = ["broken", "empty", "s-0", "s-1", "sub", "void", "images-00000"]
    assert [task.name for task in remote.shards] == [task.name for task in local.shards] == names
    assert remote.passed_over == local.passed_over == {"token shard": 1, ".json": 2, ".md": 1, ".parquet": 3}


def test_the_output_below_a_url_is_no_input(photos):
    filesystem = fsspec.filesystem("memory")
    for name in ("tokens/images-00000.json", "tokens/preview.png", "tokens-of-others/a.png"):
        filesystem.pipe(f"/photos/{name}", PNG)
    found = {
        out: [image.name for image in plan_shards(["memory://photos"], 99, out).loose]
        for out in ("memory://photos/tokens", "memory://photos", None)
    }
    assert found["memory://photos"] == found[None] and "tokens/preview.png" in found[None]
    assert found["memory://photos/tokens"] == [name for name in found[None] if name != "tokens/preview.png"]


def test_a_store_that_vanishes_while_a_folder_is_looked_into_is_named(photos, monkeypatch):
    monkeypatch.setattr("vistok.tokenizer.retries.FIRST_WAIT", 0)
    read, problem = MemoryFileSystem.cat_file, ConnectionResetError(104, "Connection reset by peer")

    def refuse(self, path, start=None, end=None, **kwargs):
        if path.endswith("s-1.tar"):
            raise problem
        return read(self, path, start, end)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    # One that does not answer is left to those who read it; with more it is the store.
    assert "s-1" in [task.name for task in plan_shards(["memory://photos"], 10).shards]
    monkeypatch.setattr("vistok.inference.inputs.folder_shards.MAX_SILENT", 0)
    with pytest.raises(StillFailingError, match=r"failed 8 times in \d+ s, .* reset by peer.*memory://photos/s-1.tar"):
        plan_shards(["memory://photos"], 10)
    problem = PermissionError(13, "Permission denied")  # of this object alone: reading it reports why
    assert "s-1" in [task.name for task in plan_shards(["memory://photos"], 10).shards]


def test_globs_and_lists_name_objects(photos, tmp_path):
    plan = plan_shards(["memory://photos/s-*.tar", "memory://photos/[ab].png"], 10)
    assert [task.name for task in plan.shards] == ["s-0", "s-1", "images-00000"]
    assert [image.name for image in plan.loose] == ["a.png", "b.png"]
    lines = "memory://photos/sub/c.png\n# a comment\nmemory://photos/gone.png\nmemory://photos/s-{0..1}.tar\n"
    (tmp_path / "list.txt").write_text(lines)
    fsspec.filesystem("memory").pipe("/list.txt", lines.encode())
    for listed in (str(tmp_path / "list.txt"), "memory://list.txt"):
        plan = plan_shards([listed], 10)
        assert [image.problem for image in plan.loose] == ["", f"does not exist ({listed}, line 3)"]
        assert [task.name for task in plan.shards] == ["s-0", "s-1", "images-00000"]


def test_what_is_not_there_is_one_sentence(photos):
    allowed = r"give image files, folders, \.tar shards, \.parquet files, URLs of these or a \.txt list\.$"
    for gone in ("memory://photos/gone.png", "memory://photos/gone.txt", str(photos / "gone.tar")):
        with pytest.raises(ValueError, match=rf"^{gone} does not exist: {allowed}"):
            plan_shards([gone], 10)
    with pytest.raises(ValueError, match=r"^No images in memory://photos/\*.gif: give image files"):
        plan_shards(["memory://photos/*.gif"], 10)
    with pytest.raises(
        ValueError, match=r"^memory://photos/s.tar.gz is a compressed tar: decompress it, and give the .tar"
    ):
        plan_shards(["memory://photos/s.tar.gz"], 10)
    with pytest.raises(ValueError, match=r"both become the shard s-0: tokenize them into different folders"):
        plan_shards(["memory://photos/s-0.tar", str(photos / "s-0.tar")], 10)


def test_inputs_change_when_an_object_is_written_again(photos):
    before = [task.inputs for task in plan_shards(["memory://photos"], 10).shards]
    tasks = plan_shards(["memory://photos"], 10).shards
    assert [task.inputs for task in tasks] == before == [task.source.digest() for task in tasks]
    filesystem = fsspec.filesystem("memory")
    for path in ("/photos/a.png", "/photos/s-1.tar"):
        filesystem.pipe(path, filesystem.cat(path))  # the same bytes, written later
    now = [task.source.digest() for task in tasks]
    assert [one == other for one, other in zip(before, now, strict=True)] == [True, False, False]
    assert now == [task.inputs for task in plan_shards(["memory://photos"], 10).shards]


def test_an_object_that_became_longer_or_shorter_is_not_read(photos, monkeypatch):
    monkeypatch.setattr("vistok.tokenizer.retries.FIRST_WAIT", 0)
    (task,) = plan_shards(["memory://photos/b.png"], 10).shards
    (sample,) = task.source.list_samples().samples
    for changed in (PNG + b"x", PNG[:-1]):
        fsspec.filesystem("memory").pipe("/photos/b.png", changed)
        with pytest.raises(OSError, match=rf"{len(changed)} of {len(PNG)} bytes came"):
            sample.entry.read()


class Requests(SimpleHTTPRequestHandler):
    """A server of files that answers range requests, and notes the bytes that it sends."""

    sent: list[int] = []

    def do_GET(self):
        asked = self.headers.get("Range")
        if asked is None or "/" in asked:
            super().do_GET()
            return
        try:
            with open(self.translate_path(self.path), "rb") as file:
                body = file.read()
        except OSError:
            self.send_error(404)
            return
        start, end = (int(text) for text in asked.removeprefix("bytes=").split("-"))
        part = body[start : end + 1]
        self.sent.append(len(part))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(body)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *args):
        pass


@pytest.fixture
def web(photos):
    pytest.importorskip("aiohttp", reason="http:// needs aiohttp")
    Requests.sent.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Requests, directory=str(photos.parent))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_of_files_is_read_in_ranges(web, photos):
    names = ["photos/s-0.tar", "photos/b.png", "photos/sub/c.png"]
    remote = content(plan_shards([f"{web}/{name}" for name in names], 10))
    assert remote == content(plan_shards([str(photos.parent / name) for name in names], 10))
    with pytest.raises(ValueError, match=r"/photos/gone.png does not exist: give image files"):
        plan_shards([f"{web}/photos/gone.png"], 10)
    assert content(plan_shards([f"{web}/photos/"], 10)) == content(plan_shards([str(photos)], 10))  # a page of links
    queries = plan_shards([f"{web}/photos/b.png?size=1", f"{web}/photos/b.png?size=2"], 10)
    assert [(image.name, image.key) for image in queries.loose] == [("b.png", "b_png"), ("b.png", "b_png_2")]


def test_a_server_without_ranges_is_refused_at_once(web, photos, monkeypatch):
    monkeypatch.setattr(Requests, "do_GET", SimpleHTTPRequestHandler.do_GET)
    with open(photos / "s-0.tar", "ab") as file:
        file.write(bytes(4 << 20))  # more than is read at a time
    (task,) = plan_shards([f"{web}/photos/s-0.tar"], 10).shards
    with pytest.raises(
        OSError, match="its server gives whole files only, where a part was asked for: download it first"
    ):
        list(task.source.list_samples().samples)


def test_each_byte_of_a_tar_comes_once_and_large_members_only_when_they_are_read(web, photos):
    with tarfile.open(photos / "big.tar", "w") as tar:
        for index in range(20):
            (photos / "member").write_bytes(bytes(2 << 20 if index == 10 else 1 << 19))
            tar.add(photos / "member", f"{index}.png")
    size = (photos / "big.tar").stat().st_size
    (task,) = plan_shards([f"{web}/photos/big.tar"], 10).shards
    samples = list(task.source.list_samples().samples)
    assert sum(Requests.sent) <= size and max(Requests.sent) <= 4 << 20 < size
    assert [sample.held for sample in samples] == [0 if index == 10 else 1 << 19 for index in range(20)]
    assert samples[10].entry.read() == bytes(2 << 20) and Requests.sent[-1] == 2 << 20


def test_objects_of_an_s3_server(photos):
    with serve_s3() as filesystem:
        filesystem.put(str(photos), "bucket/photos", recursive=True)
        plan = plan_shards(["s3://bucket/photos"], 2)
        assert content(plan) == content(plan_shards([str(photos)], 2))
        assert [task.source.digest() for task in plan.shards] == [task.inputs for task in plan.shards]
        globbed = plan_shards(["s3://bucket/photos/s-*.tar"], 2)
        assert [task.inputs for task in globbed.shards] == [task.inputs for task in plan.shards[:2]]


def test_globs_of_the_hub(hub, photos, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    files = {f"p/{path.relative_to(photos)}": path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    hub.add("me/photos", files | {"README.md": b"mine"})
    plan = plan_shards([f"hf://datasets/me/photos/p/{glob}" for glob in ("s-*.tar", "[ab].png")], 10)
    assert [task.name for task in plan.shards] == ["s-0", "s-1", "images-00000"]
    assert [image.name for image in plan.loose] == ["a.png", "b.png"]
