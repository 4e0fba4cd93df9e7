"""Many shards in one stream: damaged shards, the order of failures, and too little memory."""

import copy
import json

import numpy as np
import pytest
import torch

import vistok
from samples import PHOTOS, image_bytes, noise_image, stored_samples
from vistok.evaluation.usage import count_tokens, empty_counts
from vistok.images.preprocessing import stack_pixels
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.reading import read_image
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest
from vistok.inference.token_shards.sidecar import sidecars
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.tokenize import preview
from vistok.inference.tokenize.collate import stack_bytes
from vistok.inference.tokenize.engines.table import ENGINES
from vistok.inference.tokenize.job import Job
from vistok.inference.tokenize.preview import write_preview
from vistok.inference.tokenize.results import tokenize_shards
from vistok.inference.tokenize.resume import pending_shards
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig

PNG = image_bytes(noise_image(64, 64), "PNG")


def shards(make_tar, folder):
    whole = [make_tar(folder / f"s-{index}.tar", [(f"{index}.png", PNG)]) for index in range(3)]
    content = whole[1].read_bytes()
    whole[1].write_bytes(content[:700])
    return whole, content


def test_a_damaged_shard_is_left_out_and_done_when_it_is_repaired(tokenize, make_tar, tmp_path):
    (tmp_path / "in").mkdir()
    paths, content = shards(make_tar, tmp_path / "in")
    out = tmp_path / "out"
    for options in ([], ["--fast", "--preview", 2]):
        said = tokenize(*paths, "--out", out, "--overwrite", *options, code=1)
        assert "2 written" in said and "2 tokenized, 0 failed" in said
        assert f"  damaged: {paths[1]} " in said and "repair or leave it out." in said
        assert "nothing was written for 1 damaged shard: repair it and run the same command again" in said
        assert not list(out.glob("s-1*"))
    paths[1].write_bytes(content)
    assert "1 written, 2 done before" in tokenize(*paths, "--out", out, "--fast")


def test_stop_writes_what_comes_before_the_failure(tokenize, make_tar, tmp_path):
    paths, _ = shards(make_tar, tmp_path)
    said = tokenize(*paths, "--out", tmp_path / "out", "--on-error", "stop", code=1)
    assert "s-1.tar" in said and "(--on-error skip goes on with the other shards)" in said
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == ["s-0.tar"]


def tokenized(tokenizer, plan, folder, encode=None, stop=False, **options):
    threads = {"batch_size": 4, "readers": 2, "encoders": 1, **options}
    manifest = new_manifest(tokenizer, "small", "float32", "wds", "all")
    if encode is not None:
        tokenizer = copy.copy(tokenizer)
        tokenizer.encode_pixels = encode
    job = Job(LocalStore(folder), manifest, tokenizer, SHARD_FORMATS["wds"], **threads, stop_on_error=stop)
    told = []

    def note(totals):
        told.append((totals.shards_done, totals.progress["images"], totals.expected_images))

    pending = pending_shards(plan.shards, job, retry_failures=False)
    totals = tokenize_shards(pending, job, ENGINES["local"], note)
    assert told[-1][0] == len(pending) and told[-1][1] == told[-1][2]
    assert [images for _, images, _ in told] == sorted(images for _, images, _ in told)
    return totals


@pytest.fixture
def tokenizer(tokenizer_folder):
    return vistok.load(tokenizer_folder)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(23):
        image = noise_image(40 + index, 50, index)
        (folder / f"{index:02d}.png").write_bytes(b"" if index % 5 == 3 else image_bytes(image, "PNG"))
    return folder


def test_shards_do_not_depend_on_batches_or_readers(tokenizer, images, tmp_path):
    def contents(name, shard_size, **options):
        totals = tokenized(tokenizer, plan_shards([str(images)], shard_size), tmp_path / name, **options)
        assert (totals.images, len(totals.failures)) == (19, 4)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}, totals.counts

    files, counts = contents("a", 3)
    assert len(files) == 16
    for index, options in enumerate(
        [
            {"batch_size": 1, "readers": 1},
            {"encoders": 3},
            {"batch_size": 50},
            {"reads_in_processes": True},
            {"reads_in_processes": True, "readers": 1, "batch_size": 7},
        ]
    ):
        others, same = contents(f"b{index}", 3, **options)
        assert others == files and torch.equal(same, counts)
    tokens = [sample.tokens() for shard in (tmp_path / "a").glob("*.tar") for sample in stored_samples(shard)]
    expected = empty_counts(1, 300)
    count_tokens(expected, torch.from_numpy(np.stack(tokens).astype(np.int64)), 300)
    assert torch.equal(counts, expected)


def test_an_image_larger_than_the_memory_leaves_its_shard_unsealed(tokenizer, images, tmp_path):
    native = tokenizer.with_preprocessing(PreprocessingConfig(size="native"))

    def encode(pixels):
        if len(pixels) * pixels.shape[3] > 120:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        if pixels.shape[3] == 56:
            raise MemoryError if len(pixels) > 1 else RuntimeError("CUDA out of memory. Tried to allocate 9 GiB")
        return native.encode_pixels(pixels)

    totals = tokenized(native, plan_shards([str(images)], 5), tmp_path / "out", encode, batch_size=5)
    assert [sidecar.shard for sidecar in sidecars(LocalStore(tmp_path / "out"))] == [
        f"images-{index:05d}.tar" for index in (0, 4)
    ]
    assert sorted(totals.unread) == [
        "09.png: the memory is too small for 49 x 50 pixels",
        "10.png: the memory is too small for 50 x 50 pixels",
        "15.png: the memory is too small for 55 x 50 pixels",
    ]
    with pytest.raises(WorkFailedError, match=r"(03|09).png: .* \(--on-error skip goes on without it\)"):
        tokenized(native, plan_shards([str(images)], 100), tmp_path / "stopped", encode, stop=True)
    assert tokenized(native, plan_shards([str(images)], 5), tmp_path / "out").shards == 3


def test_stop_ends_at_a_failure_and_not_with_its_shard(tokenizer, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for index in range(300):
        (tmp_path / "in" / f"{index:03}.png").write_bytes(b"broken")
    read = []
    monkeypatch.setattr(
        "vistok.inference.inputs.readers.read_image",
        lambda sample, **options: read.append(sample) or read_image(sample, **options),
    )
    with pytest.raises(WorkFailedError, match=r"000.png: .* \(--on-error skip goes on without it\)"):
        tokenized(tokenizer, plan_shards([str(tmp_path / "in")], 300), tmp_path / "out", stop=True)
    assert len(read) < 100


def test_a_full_memory_or_another_error_of_the_model_is_no_images_fault(tokenizer, images, tmp_path):
    def encode(pixels):
        raise RuntimeError("CUDA out of memory" if tokenizer.config.preprocessing.size == 64 else "wrong shape")

    plan = plan_shards([str(images)], 100)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        tokenized(tokenizer, plan, tmp_path / "a", encode)
    tokenizer = tokenizer.with_preprocessing(PreprocessingConfig(size="native"))
    with pytest.raises(RuntimeError, match="wrong shape"):
        tokenized(tokenizer, plan, tmp_path / "b", encode)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_names_and_links_that_lead_nowhere_do_not_stop_a_run(tokenize, tmp_path):
    folder = tmp_path / "w"
    folder.mkdir()
    with open(bytes(folder) + b"/odd\xff.png", "wb") as file:
        file.write(PNG)
    (folder / "gone.png").symlink_to("nothing")
    said = tokenize(folder, "--out", tmp_path / "out")
    assert "1 tokenized, 1 failed" in said
    assert "failed: gone.png: is a link to nowhere" in said
    (sample,) = stored_samples(tmp_path / "out" / "images-00000.tar")
    assert (sample.key, sample.metadata()["source"]) == (r"odd\xff", r"odd\xff.png")


def test_images_that_share_a_key_are_rows(tokenize, make_tar, tmp_path):
    shard = make_tar(tmp_path / "a.tar", [("x.left.png", PNG), ("x.right.png", PNG), (".y.png", PNG)])
    tokenize(shard, "--out", tmp_path / "out")
    failures = json.loads((tmp_path / "out" / "a.json").read_text())["failures"]
    assert [failure["reason"] for failure in failures] == [
        "x.right.png shares its key with x.left.png",
        ".y.png has nothing before its dot for a key",
    ]


def test_preview_uses_the_encoder_of_the_run(tokenizer, tmp_path):
    seen = []

    def encode(pixels):
        seen.append(len(pixels))
        return tokenizer.encode_pixels(pixels)

    assert write_preview(LocalStore(tmp_path), plan_shards([str(PHOTOS)], 100), tokenizer, encode, 4) == 4
    assert seen == [1] * 4 and [path.name for path in tmp_path.iterdir()] == ["preview.png"]


def test_the_comparison_gives_the_encoder_what_the_run_gives_it(tokenizer, monkeypatch):
    given = []

    def encode(images):
        given.append(images.dtype)
        return tokenizer.start_encoding(images)()

    for collate, dtype in ((stack_bytes, torch.uint8), (stack_pixels, torch.float32)):
        monkeypatch.setattr(preview, "collate_for", lambda device, collate=collate: collate)
        line = preview.compare_with_float32(plan_shards([str(PHOTOS)], 100), tokenizer, encode)
        assert line.startswith("--fast: 100.00% of the tokens of ") and set(given) == {dtype}
        given.clear()
