"""Images of differing sizes: full batches of one size, whatever the order, in shards that do not show it."""

import io
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import vistok
from samples import image_bytes, noise_image, stored_samples
from vistok.images.file_entry import file_entry
from vistok.inference.batch_limit import BatchLimit
from vistok.inference.inputs import readers
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.samples import Sample, ShardTask
from vistok.inference.inputs.views import ONE_ROW, Views
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.tokenize.engines.table import ENGINES
from vistok.inference.tokenize.job import Job
from vistok.inference.tokenize.results import tokenize_shards
from vistok.inference.tokenize.shard_work import ShardWork
from vistok.inference.tokenize.size_groups import SizeGroups
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig

SIZES = [(16, 24), (24, 16), (30, 30), (48, 24), (16, 16)]
NATIVE = PreprocessingConfig(size="native")


@pytest.fixture
def native(tokenizer_folder):
    return vistok.load(tokenizer_folder).with_preprocessing(NATIVE)


@pytest.fixture
def images(tmp_path):
    """60 images of five sizes that take turns, and a broken one."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(60):
        image = noise_image(*SIZES[index % 5], index)
        (folder / f"{index:02}.png").write_bytes(image_bytes(image, "PNG") if index != 33 else b"broken")
    return folder


class Encoder:
    """Notes the shapes of the batches that the network gets."""

    def __init__(self, tokenizer, monkeypatch):
        self.shapes = []
        encode = tokenizer.model.encode_latent

        def noted(pixels):
            self.shapes.append(tuple(pixels.shape))
            return encode(pixels)

        monkeypatch.setitem(vars(tokenizer.model), "encode_latent", noted)


def job_of(tokenizer, folder, precision="float32", views=ONE_ROW, **options):
    manifest = new_manifest(tokenizer, "small", precision, "wds", "all", views)
    values = {"batch_size": BatchLimit(48, in_tokens=True), "readers": 2, "encoders": 1, **options}
    return Job(LocalStore(folder), manifest, tokenizer, SHARD_FORMATS["wds"], **values)


def tokenized(tokenizer, images, folder, shard_size=7, **options):
    plan = plan_shards([str(images)], shard_size)
    totals = tokenize_shards(plan.shards, job_of(tokenizer, folder, **options), ENGINES["local"])
    assert totals.images == 59 and len(totals.failures) == 1 and totals.shards == len(plan.shards)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_do_not_show_how_images_were_gathered(native, images, tmp_path):
    expected = tokenized(native, images, tmp_path / "a", waiting_images=0, batch_size=1)
    order = [sample.key for path in sorted((tmp_path / "a").glob("*.tar")) for sample in stored_samples(path)]
    assert order == [f"{index:02}" for index in range(60) if index != 33]
    for path in (tmp_path / "a").glob("*.tar"):
        for sample in stored_samples(path):
            alone = native.encode(str(images / f"{sample.key}.png"))
            assert np.array_equal(sample.tokens(), alone[0].numpy())
    for index, options in enumerate(
        [
            {"waiting_images": 5},
            {"waiting_images": 1},
            {"encoders": 3, "batch_size": BatchLimit(1, in_tokens=True), "waiting_images": 1000},
            {"batch_size": BatchLimit(10_000, in_tokens=True), "waiting_images": 1000, "reads_in_processes": True},
            {"batch_size": 64},
        ]
    ):
        assert tokenized(native, images, tmp_path / f"b{index}", **options) == expected


@pytest.mark.parametrize("views", [Views(), Views(flip=True)])
def test_with_fast_a_batch_is_padded_only_where_no_image_of_its_size_is_left(
    native, images, tmp_path, monkeypatch, views
):
    encoder = Encoder(native, monkeypatch)
    options = {"precision": "float32-eager-48t", "views": views}
    expected = tokenized(native, images, tmp_path / "a", waiting_images=0, **options)
    assert len(encoder.shapes) == 59  # each of them padded
    encoder.shapes.clear()
    assert tokenized(native, images, tmp_path / "b", **options) == expected
    rows = Counter()
    for index in range(60):
        width, height = (-(-side // 8) * 8 for side in SIZES[index % 5])
        rows[height, width] += views.rows * (index != 33)
    batch = {size: 48 * 64 // (size[0] * size[1]) for size in rows}
    assert set(batch.values()) == {2, 3, 8, 12}
    assert Counter(shape[2:] for shape in encoder.shapes) == {size: -(-rows[size] // batch[size]) for size in rows}
    assert all(shape[0] == batch[shape[2:]] for shape in encoder.shapes)


def test_pixels_in_memory_are_bounded_whatever_the_sizes(native, tmp_path, monkeypatch):
    """Every image has a size of its own and waits for others, by its name alone."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(150):
        (folder / f"{index:03}.png").write_bytes(
            image_bytes(noise_image(8 * (index % 25 + 1), 8 * (index // 25 + 1)), "PNG")
        )
    held, most, lock = [0], [0], threading.Lock()

    def change(by):
        with lock:
            held[0] += by
            most[0] = max(most[0], held[0])

    def read(sample, **options):
        image = load(sample, **options)
        change(image.pixels.size)
        return image

    def encode(pixels):
        change(-pixels.numel())
        return native.encode_pixels(pixels)

    load = readers.read_image
    monkeypatch.setattr(readers, "read_image", read)
    monkeypatch.setattr("vistok.inference.tokenize.engines.stream.WAITING_PIXELS", 10_000)
    job = job_of(native, tmp_path / "out", batch_size=BatchLimit(8, in_tokens=True), waiting_images=1000)
    vars(job)["encode"] = encode
    totals = tokenize_shards(plan_shards([str(folder)], 1000).shards, job, ENGINES["local"])
    largest = 200 * 48
    # What waits for the encoder, one image more for each reader, and the batches of the encoder.
    assert totals.images == 150 and held == [0] and most[0] <= 3 * (10_000 + (2 + 1 + 2) * largest)


def test_a_stop_seals_the_shards_before_the_failure(native, images, tmp_path):
    with pytest.raises(WorkFailedError, match="33.png"):
        tokenized(native, images, tmp_path / "out", stop_on_error=True, waiting_images=1000)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == [
        f"images-{index:05}.tar" for index in range(4)
    ]


@pytest.mark.parametrize("waiting", [1, 4, 30, 1000])
@pytest.mark.parametrize("stays", [False, True])
def test_the_order_is_complete_and_nobody_waits_too_long(tmp_path, waiting, stays):
    sizes = {}
    for index, size in enumerate(SIZES):
        path = tmp_path / f"{index}.png"
        path.write_bytes(image_bytes(noise_image(*size), "PNG"))
        sizes[str(path)] = (-(-size[1] // 8) * 8, -(-size[0] // 8) * 8)
    (tmp_path / "broken.png").write_bytes(b"broken")
    paths = [*sizes, str(tmp_path / "broken.png"), None]
    rng = random.Random(waiting)
    given = []
    for name in "abcdef":
        work = ShardWork(ShardTask(name, None, ""))
        chosen = [rng.choice(paths) for _ in range(rng.randrange(20))]
        given += [
            (work, Sample(str(len(given) + at), "", file_entry(path, path) if path else None, "" if path else "none"))
            for at, path in enumerate(chosen)
        ]
        given.append((work, None))
    places = {(id(work), sample and sample.key): index for index, (work, sample) in enumerate(given)}
    taken = []

    def items():
        for item in given:
            taken.append(item)
            yield item

    groups = SizeGroups(NATIVE, 8, lambda height, width: 3, waiting, stays)
    found = []
    with ThreadPoolExecutor(2) as threads:
        for work, sample in groups.in_order(items(), threads):
            found.append((work, sample))
    assert Counter((id(work), sample) for work, sample in found) == Counter(
        (id(work), sample) for work, sample in given
    )
    at = {(id(work), sample and sample.key): index for index, (work, sample) in enumerate(found)}
    for work, sample in given:
        assert at[id(work), sample and sample.key] <= at[id(work), None]
    if stays:
        assert [work.task.name for work, sample in found if sample is None] == list("abcdef")
    if waiting == 1:
        assert [places[id(work), sample and sample.key] for work, sample in found] == list(range(len(given)))
    if waiting == 1000 and not stays:  # all but the last of a size come three at a time
        sequence = [
            sizes[sample.entry.path] for _, sample in found if sample and sample.entry and sample.entry.path in sizes
        ]
        runs = sum(1 for one, other in zip(sequence, [None, *sequence[:-1]], strict=True) if one != other)
        counts = Counter(sequence)
        assert runs <= sum(-(-count // 3) for count in counts.values())


def test_squares_and_those_that_do_not_wait_come_as_they_are():
    items = [(ShardWork(ShardTask("a", None, "")), None)] * 3
    for config, waiting in ((PreprocessingConfig(size=64), 9), (NATIVE, 0)):
        assert list(SizeGroups(config, 8, lambda *size: 3, waiting).in_order(items, None)) == items


class Remote:
    """An entry that counts how often its bytes cross a network."""

    def __init__(self, name, content, size=None):
        self.name, self.content, self.reads = name, content, 0
        self.size = len(content) if size is None else size

    def read(self):
        self.reads += 1
        if not self.content:
            raise OSError("the store is away")
        return self.content

    def open(self):
        return io.BytesIO(self.read())


def test_files_from_a_network_are_read_once_and_bounded(monkeypatch):
    monkeypatch.setattr("vistok.inference.tokenize.size_groups.HELD_BYTES", 5000)
    monkeypatch.setattr("vistok.inference.tokenize.headers.HELD_BYTES", 5000)
    content = {size: image_bytes(noise_image(*size), "PNG") for size in SIZES}
    entries = [Remote(f"{index}", content[SIZES[index % 5]]) for index in range(40)]
    entries += [Remote("gone", b""), Remote("huge", content[SIZES[0]], size=1 << 40)]
    work, taken = ShardWork(ShardTask("a", None, "")), []

    def items():
        for entry in entries:
            taken.append(entry.size)
            yield work, Sample(entry.name, entry.name, entry)
        yield work, None

    groups = SizeGroups(NATIVE, 8, lambda height, width: 1000, 1000)
    found = 0
    with ThreadPoolExecutor(2) as threads:
        for _, sample in groups.in_order(items(), threads):
            if sample and sample.entry.size < 1 << 40:
                found += len(sample.entry.read()) if sample.key != "gone" else 0
                assert sum(size for size in taken if size < 1 << 40) - found <= 2 * 5000 + 2 * max(
                    map(len, content.values())
                )
    assert [entry.reads for entry in entries] == [1] * 41 + [0]
