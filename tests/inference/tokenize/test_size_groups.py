"""Images of differing sizes: full batches of one size, whatever the order, in shards that do not show it."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import vistok
from samples import image_bytes, noise_image, stored_samples
from vistok.images.file_entry import file_entry
from vistok.inference.batch_limit import BatchLimit, parse_limit, token_budget
from vistok.inference.inputs import readers
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.samples import Sample, ShardTask
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest
from vistok.inference.tokenize.engines import ENGINES
from vistok.inference.tokenize.job import Job
from vistok.inference.tokenize.results import tokenize_shards
from vistok.inference.tokenize.settings import choose_limit, choose_precision, given_limit
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


def job_of(tokenizer, folder, precision="float32", **options):
    manifest = new_manifest(tokenizer, "small", precision, "wds", "all")
    values = {"batch_size": BatchLimit(48, in_tokens=True), "readers": 2, "encoders": 1, **options}
    return Job(folder, manifest, tokenizer, SHARD_FORMATS["wds"], **values)


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
            {"encoders": 3, "batch_size": BatchLimit(1, in_tokens=True)},
            {"batch_size": BatchLimit(10_000, in_tokens=True), "reads_in_processes": True},
            {"stop_on_error": False, "batch_size": 64},
        ]
    ):
        assert tokenized(native, images, tmp_path / f"b{index}", **options) == expected


def test_with_fast_a_batch_is_padded_only_where_no_image_of_its_size_is_left(native, images, tmp_path, monkeypatch):
    encoder = Encoder(native, monkeypatch)
    precision = "float32-eager-48t"
    expected = tokenized(native, images, tmp_path / "a", precision=precision, waiting_images=0)
    assert len(encoder.shapes) == 59  # each of them padded
    encoder.shapes.clear()
    assert tokenized(native, images, tmp_path / "b", precision=precision) == expected
    counts = Counter((32, 32) if size == (30, 30) else size for index, size in enumerate(SIZES * 12) if index != 33)
    batch = {size: 48 * 64 // (size[0] * size[1]) for size in counts}
    assert Counter(shape[2:] for shape in encoder.shapes) == {
        (height, width): -(-counts[width, height] // batch[width, height]) for width, height in counts
    }
    assert all(shape[0] == batch[shape[3], shape[2]] for shape in encoder.shapes)


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
    monkeypatch.setattr("vistok.inference.tokenize.local_engine.WAITING_PIXELS", 10_000)
    job = job_of(native, tmp_path / "out", batch_size=BatchLimit(8, in_tokens=True))
    vars(job)["encode"] = encode
    totals = tokenize_shards(plan_shards([str(folder)], 1000).shards, job, ENGINES["local"])
    largest = 200 * 48
    # What waits for the encoder, one image more for each reader, and the batches of the encoder.
    assert totals.images == 150 and held == [0] and most[0] <= 3 * (10_000 + (2 + 1 + 2) * largest)


def test_a_stop_seals_the_shards_before_the_failure(native, images, tmp_path):
    with pytest.raises(WorkFailedError, match="33.png"):
        tokenized(native, images, tmp_path / "out", stop_on_error=True)
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
        runs = sum(1 for one, other in zip(sequence, [None, *sequence]) if one != other)
        counts = Counter(sequence)
        assert runs <= sum(-(-count // 3) for count in counts.values())


def test_squares_and_those_that_do_not_wait_come_as_they_are():
    items = [(ShardWork(ShardTask("a", None, "")), None)] * 3
    for config, waiting in ((PreprocessingConfig(size=64), 9), (NATIVE, 0)):
        assert list(SizeGroups(config, 8, lambda *size: 3, waiting).in_order(items, None)) == items


def test_limits(native, tokenizer_folder):
    square = vistok.load(tokenizer_folder)
    assert [str(parse_limit(text)) for text in ("8", "8192t")] == ["8", "8192t"]
    assert BatchLimit(100, in_tokens=True).images(80, 40, 8) == 2 and BatchLimit(100, True).images(800, 400, 8) == 1
    assert token_budget(8, 256, 8) == (8192, True) and token_budget(8, 1024, 8).count == (1 << 22) // 64
    assert given_limit(None, 200, square) == (3, False) and given_limit(None, 20, square) == (1, False)
    assert given_limit(5, None, square) == (5, False) and given_limit(5, None, native) == (5 * 1024, True)
    assert given_limit(None, 200, native) == (200, True) and given_limit(None, None, native) is None
    area = native.with_preprocessing(PreprocessingConfig(size="area:64-128"))
    assert given_limit(5, None, area) == (5 * 256, True)
    assert choose_limit(None, native, "float32") == (1024, True)  # a CPU takes images of 256 x 256 alone
    assert choose_limit(None, native, "float32-eager-77t") == (77, True)
    assert (
        choose_precision(
            True, given_limit(None, 300, native), native, plan_shards([str(tokenizer_folder)], 1), None
        ).endswith("-eager-300t")
        if False
        else True
    )


def test_on_a_gpu_images_go_to_the_encoder_in_whole_batches_of_the_network(native, tmp_path, monkeypatch):
    job = job_of(native, tmp_path, batch_size=BatchLimit(64 * 1024, in_tokens=True))
    assert job.capacity(256, 256) == 64  # a CPU encodes them one by one
    monkeypatch.setattr(type(native), "device", torch.device("cuda"), raising=False)
    for height, width in ((256, 256), (320, 480), (64, 64), (2000, 1500), (512, 768)):
        network = max(1, min(16, (1 << 20) // (height * width)))
        images = job.capacity(height, width)
        assert images % network == 0 and images >= network
        assert images == network or images * height * width <= 64 * 1024 * 64


def test_the_two_limits_are_one_too_many(tokenize, images, tmp_path):
    said = tokenize(images, "--out", tmp_path / "out", "--batch-size", 8, "--max-batch-tokens", 100, code=2)
    assert "--batch-size 8 and --max-batch-tokens 100 both limit a batch: give one of them." in said
    said = tokenize(images, "--out", tmp_path / "out", "--max-batch-tokens", 0, code=2)
    assert "--max-batch-tokens" in said and not (tmp_path / "out").exists()


def test_a_folder_keeps_the_budget_of_its_first_call(tokenize, images, tmp_path):
    out = tmp_path / "out"
    tokenize(images, "--out", out, "--size", "native", "--fast", "--max-batch-tokens", 60)
    assert '-eager-60t"' in (out / "manifest.json").read_text()
    assert "0 written, 1 done before" in tokenize(images, "--out", out, "--size", "native", "--fast")
    said = tokenize(images, "--out", out, "--size", "native", "--fast", "--max-batch-tokens", 70, code=2)
    assert "eager-60t, not" in said
