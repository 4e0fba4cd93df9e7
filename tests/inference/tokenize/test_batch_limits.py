"""How many images are a batch: of a number, or of a number of tokens, as users give it or by the device."""

from dataclasses import replace

import pytest
import torch

import vistok
from samples import image_bytes, noise_image
from vistok.inference.batch_limit import BatchLimit, parse_limit, token_budget
from vistok.inference.fast import fast_precision
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.tokenize.job import Job
from vistok.inference.tokenize.settings import choose_limit, given_limit
from vistok.tokenizer.preprocessing import PreprocessingConfig


@pytest.fixture
def square(tokenizer_folder):
    return vistok.load(tokenizer_folder)


@pytest.fixture
def native(square):
    return square.with_preprocessing(PreprocessingConfig(size="native"))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index, size in enumerate([(16, 24), (24, 16), (16, 24)]):
        (folder / f"{index}.png").write_bytes(image_bytes(noise_image(*size, index), "PNG"))
    return folder


def test_limits(native, square):
    assert [str(parse_limit(text)) for text in ("8", "8192t")] == ["8", "8192t"]
    assert BatchLimit(100, in_tokens=True).images(80, 40, 8) == 2 and BatchLimit(100, True).images(800, 400, 8) == 1
    assert token_budget(8, 256, 8) == (8192, True) and token_budget(8, 1024, 8).number == (1 << 22) // 64
    assert given_limit(None, 200, square) == (3, False) and given_limit(None, 20, square) == (1, False)
    assert given_limit(5, None, square) == (5, False) and given_limit(5, None, native) == (5 * 1024, True)
    assert given_limit(None, 200, native) == (200, True) and given_limit(None, None, native) is None
    area = native.with_preprocessing(PreprocessingConfig(size="area:64-128"))
    assert given_limit(5, None, area) == (5 * 256, True)
    assert choose_limit(None, native, "float32") == (1024, True)  # a CPU takes images of 256 x 256 alone
    assert choose_limit(None, native, "float32-eager-77t") == (77, True)
    assert fast_precision(torch.device("cpu"), False, given_limit(None, 300, native)).endswith("-eager-300t")


def test_on_a_gpu_images_go_to_the_encoder_in_whole_batches_of_the_network(native, tmp_path, monkeypatch):
    manifest = new_manifest(native, "small", "float32", "wds", "all")
    job = Job(LocalStore(tmp_path), manifest, native, SHARD_FORMATS["wds"], BatchLimit(64 * 1024, in_tokens=True), 1, 1)
    assert job.capacity(256, 256) == 64 and job.waiting == 0  # a CPU encodes them one by one
    monkeypatch.setattr(type(native), "device", torch.device("cuda"), raising=False)
    assert job.waiting == 64 * 64 and replace(job, waiting_images=7).waiting == 7
    for height, width in ((256, 256), (320, 480), (64, 64), (2000, 1500), (512, 768)):
        network = max(1, min(16, (1 << 20) // (height * width)))
        images = job.capacity(height, width)
        assert images % network == 0 and images >= network
        assert images == network or images * height * width <= 64 * 1024 * 64


def test_on_a_gpu_a_given_number_becomes_whole_batches_of_the_network(square, tmp_path, monkeypatch):
    """16 and 4 would be padded to 32."""
    manifest = new_manifest(square, "small", "float32", "wds", "all")
    jobs = {
        size: Job(LocalStore(tmp_path), manifest, square, SHARD_FORMATS["wds"], size, 1, 1) for size in (4, 20, 32, 50)
    }
    assert [job.capacity(256, 256) for job in jobs.values()] == [4, 20, 32, 50]  # a CPU takes each alone
    monkeypatch.setattr(type(square), "device", torch.device("cuda"), raising=False)
    assert [job.capacity(256, 256) for job in jobs.values()] == [16, 16, 32, 48]
    assert [job.capacity(512, 512) for job in jobs.values()] == [4, 16, 16, 16]
    fast = replace(jobs[20], manifest=new_manifest(square, "small", "bfloat16-compiled-8", "wds", "all"))
    assert fast.capacity(64, 64) == 16


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
