"""A shard format and an engine from outside the package work as those of vistok do."""

import json
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest
from PIL import Image
from prepared import CONTEXT, start_server

import vistok
from samples import image_bytes, noise_image
from shard_files import contents
from vistok.inference.inputs.companions import KEEP_ALL
from vistok.inference.inputs.plan import plan_shards
from vistok.inference.inputs.views import ONE_ROW
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.token_shards.manifest import new_manifest, write_manifest
from vistok.inference.token_shards.sidecar import sidecars
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.token_shards.token_samples import StoredSample
from vistok.inference.tokenize.engines.stream import ShardStream, make_shard
from vistok.inference.tokenize.engines.table import ENGINES
from vistok.inference.tokenize.job import Job
from vistok.inference.tokenize.limits import Waits
from vistok.inference.tokenize.results import tokenize_shards
from vistok.inference.tokenize.run import Request, tokenize_collection


class JsonLines:
    """One line of JSON per image, companions left out."""

    suffixes = (".jsonl",)

    def require(self):
        pass  # it needs no other package

    def write(self, files, samples):
        for sample in samples:
            row = {"vistok": 1, "key": sample.key, "tokens": sample.tokens.tolist(), "metadata": sample.metadata}
            files[0].write(json.dumps(row | {"dtype": sample.tokens.dtype.name}).encode() + b"\n")

    def read(self, files):
        for line in files[0].read().splitlines():
            row = json.loads(line)
            tokens = partial(np.array, row["tokens"], row["dtype"])
            yield StoredSample(row["key"], tokens, partial(dict, row["metadata"]))

    def is_own(self, files):
        try:
            first = json.loads(files[0].read().splitlines()[0])
        except (ValueError, IndexError):
            return None
        return isinstance(first, dict) and "vistok" in first


class Backwards:
    """Makes the shards one by one, the last one first, and reports nothing."""

    def __init__(self, job, report):
        self.job = job

    def run(self, tasks):
        return iter([make_shard(task, self.job) for task in reversed(list(tasks))])


class Processes:
    """Makes each shard in a process that shares nothing with this one."""

    def __init__(self, job, report):
        self.job = job

    def run(self, tasks):
        start_server()
        with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
            yield from pool.map(make_shard, tasks, [self.job] * len(tasks))


@pytest.fixture
def jsonl(monkeypatch):
    monkeypatch.setitem(SHARD_FORMATS, "jsonl", JsonLines())
    return "--format", "jsonl"


@pytest.fixture
def inputs(make_tar, tmp_path):
    """Loose images with a caption, a broken one, and two tars of which one is damaged."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(7):
        (folder / f"{index}.png").write_bytes(image_bytes(noise_image(70, 64, index), "PNG"))
    (folder / "3.png").write_bytes(b"broken")
    (folder / "0.txt").write_text("caption")
    tars = [make_tar(tmp_path / f"{name}.tar", [("k.png", (folder / "1.png").read_bytes())]) for name in "ab"]
    tars[1].write_bytes(tars[1].read_bytes()[:700])
    return [folder, *tars]


def test_a_format_from_outside_tokenizes_resumes_and_comes_back(
    tokenize, detokenize, jsonl, inputs, tokenizer_folder, tmp_path
):
    out, back, tars = tmp_path / "out", tmp_path / "back", tmp_path / "tars"
    call = (*inputs, "--shard-size", 2)
    said = tokenize(*call, "--out", out, *jsonl, code=1)
    assert "5 written" in said and "7 tokenized, 1 failed" in said and "damaged: " in said
    whole = contents(out)
    assert sorted(name for name in whole if name.endswith(".jsonl")) == ["a.jsonl"] + [
        f"images-0000{index}.jsonl" for index in range(4)
    ]
    assert json.loads(whole["manifest.json"])["format"] == "jsonl"
    # The sidecars are those of any other format, but for the shard itself.
    tokenize(*call, "--out", tars, code=1)
    for name in ("a", "images-00001"):
        one, other = (json.loads((folder / f"{name}.json").read_text()) for folder in (out, tars))
        assert {key for key in one if one[key] != other[key]} == {"shard", "files"}
    # A kill can leave a shard without a sidecar, a cut one, and one that was being written.
    (out / "images-00000.json").unlink()
    (out / "images-00002.jsonl").write_bytes(whole["images-00002.jsonl"][:-9])
    (out / ".vistok-0123456789ab.part").write_bytes(b"half")
    assert "2 written, 3 done before" in tokenize(*call, "--out", out, *jsonl, code=1)
    assert contents(out) == whole
    assert "0 written, 5 done before" in tokenize(*call, "--out", out, *jsonl, "--workers", 1, code=1)
    # What comes back is what the API decodes, and a flipped bit is found by the sidecar.
    assert "7 images from 5 shards" in detokenize(out, "--out", back)
    tokenizer = vistok.load(tokenizer_folder)
    expected = tokenizer.decode(tokenizer.encode(inputs[0] / "5.png"))[0]
    assert np.array_equal(np.asarray(Image.open(back / "5.png")), np.asarray(expected))
    (out / "a.jsonl").write_bytes(whole["a.jsonl"].replace(b"1", b"2"))
    assert "a.jsonl does not match its sidecar (SHA-256)" in detokenize(out, "--out", tmp_path / "2", code=1)
    # Growing, --overwrite and the protection of other files work as with any format.
    (inputs[0] / "9.png").write_bytes(image_bytes(noise_image(64, 64, 9), "PNG"))
    (out / "a.jsonl").write_bytes(whole["a.jsonl"])
    assert "new         1 image" in tokenize(*call, "--out", out, *jsonl, code=1)
    (out / "mine.jsonl").write_bytes(b'{"text": "mine"}\n')
    tokenize(inputs[0] / "5.png", "--out", out, *jsonl, "--overwrite")
    assert set(contents(out)) == {"mine.jsonl", "manifest.json", "images-00000.jsonl", "images-00000.json"}


def test_a_folder_keeps_its_format(tokenize, detokenize, inputs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setitem(SHARD_FORMATS, "jsonl", JsonLines())
        tokenize(inputs[0], "--out", out, "--format", "jsonl")
        said = tokenize(inputs[0], "--out", out, code=2)
        assert f"{out} was made with --format jsonl, not wds: use another --out folder, or --overwrite." in said
        damaged = (out / "images-00000.jsonl").read_bytes()[:-30]
        (tmp_path / "cut.jsonl").write_bytes(damaged)
        (tmp_path / "manifest.json").write_bytes((out / "manifest.json").read_bytes())
        said = detokenize(tmp_path / "cut.jsonl", "--out", tmp_path / "back", code=1)
        assert "cut.jsonl is not a whole token shard (" in said and "): remove it and tokenize it again." in said
    for given in (out, out / "images-00000.jsonl"):  # where nobody has added the format
        said = detokenize(given, "--out", tmp_path / "back", code=2)
        assert f"{out / 'manifest.json'} names the shard format 'jsonl', but only wds, parquet, megatron can be" in said


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--format", "--format 'zip' is not a known format: choose from megatron, parquet, wds."),
        ("--engine", "--engine 'zip' is not a known engine: choose from local, ray."),
    ],
)
def test_an_unknown_entry_is_refused(tokenize, inputs, tmp_path, option, sentence):
    assert sentence in tokenize(inputs[0], "--out", tmp_path / "out", option, "zip", code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "nearest"), [("--format", "parquet"), ("--format", "megatron"), ("--engine", "local")]
)
def test_a_misspelt_entry_gets_the_nearest(tokenize, inputs, tmp_path, option, nearest):
    said = tokenize(inputs[0], "--out", tmp_path / "out", option, nearest[:-1], code=2)
    assert f"{option} '{nearest[:-1]}' is not a known {option[2:]}: did you mean '{nearest}'?" in said


@pytest.mark.parametrize("engine", [Backwards, Processes])
def test_an_engine_from_outside_gives_the_same_bytes(tokenize, inputs, tmp_path, monkeypatch, engine):
    monkeypatch.setitem(ENGINES, "mine", engine)
    said = {}
    for name in ("local", "mine"):
        said[name] = tokenize(*inputs, "--out", tmp_path / name, "--shard-size", 2, "--engine", name, code=1)
        said[name] = said[name].replace(str(tmp_path / name), "OUT").partition(", ")[0]
    assert said["local"] == said["mine"] and contents(tmp_path / "local") == contents(tmp_path / "mine")


def test_an_engine_from_outside_stops_at_a_failure(tokenize, inputs, tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "mine", Backwards)
    call = (*inputs, "--out", tmp_path / "out", "--engine", "mine", "--shard-size", 2, "--on-error", "stop")
    assert "3.png: " in tokenize(*call, code=1)
    assert len(list((tmp_path / "out").glob("*.tar"))) == 2  # those behind it


def job_of(tokenizer, out, **options):
    manifest = new_manifest(tokenizer, "small", options.pop("precision", "float32"), "wds", "all")
    return Job(
        LocalStore(out), manifest, tokenizer, SHARD_FORMATS["wds"], batch_size=4, readers=1, encoders=1, **options
    )


@pytest.mark.parametrize("precision", ["float32", "float32-eager-8"])
def test_tasks_jobs_and_results_are_plain_data(inputs, tokenizer_folder, tmp_path, precision):
    tokenizer = vistok.load(tokenizer_folder)
    tasks = plan_shards(list(map(str, inputs)), 2).shards
    here, there = (job_of(tokenizer, tmp_path / name, precision=precision) for name in ("here", "there"))
    results = [make_shard(task, here) for task in tasks]
    assert there.encode is not None  # what holds compiled code pickles too, without it
    again, there = pickle.loads(pickle.dumps((tasks, there)))
    assert again == tasks and "encode" not in vars(there)
    for one, other in zip(results, (make_shard(task, there) for task in again), strict=True):
        other = pickle.loads(pickle.dumps(other))
        assert one._replace(usage=(), waits=Waits()) == other._replace(usage=(), waits=Waits())
        assert all(map(np.array_equal, one.usage, other.usage)) and len(one.usage) == len(other.usage)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert [bool(result.damage) for result in results] == [False, True, False, False, False, False]


def test_only_the_parent_writes_the_manifest(inputs, tokenizer_folder, tmp_path):
    job = job_of(vistok.load(tokenizer_folder), tmp_path / "out")
    totals = tokenize_shards(plan_shards([str(inputs[0])], 2).shards, job, ENGINES["local"])
    assert (totals.images, len(totals.failures), totals.shards) == (6, 1, 4)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert write_manifest(job.out, job.manifest).images == 6 and len(list(sidecars(job.out))) == 4


def test_an_abandoned_engine_ends_its_threads(inputs, tokenizer_folder, tmp_path):
    before = set(threading.enumerate())
    results = ShardStream(job_of(vistok.load(tokenizer_folder), tmp_path / "out"), lambda _: None).run(
        plan_shards([str(inputs[0])], 1).shards
    )
    assert next(results).name == "images-00000"
    results.close()
    assert not set(threading.enumerate()) - before


def test_a_python_call_takes_both(jsonl, inputs, tokenizer_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "backwards", Backwards)
    request = Request(
        inputs=[str(inputs[0])], out=str(tmp_path / "out"), model=str(tokenizer_folder), size=None, keep=KEEP_ALL,
        image_column="", shard_format="jsonl", batch_size=None, max_batch_tokens=None, views=ONE_ROW,
        workers=None, devices="cpu", fast=False, shard_size=3, stop_on_error=False,
        retry_failures=False, overwrite=False, preview=0, report=False, engine="backwards", ray_address=None, quiet=True,
    )  # fmt: skip
    summary = tokenize_collection(request, lambda line: None)
    assert summary.totals.images == 6 and len(list((tmp_path / "out").glob("*.jsonl"))) == 3


ADDING = """
from vistok.inference.token_shards.formats import SHARD_FORMATS
from vistok.inference.tokenize.engines.table import ENGINES
SHARD_FORMATS["jsonl"], ENGINES["backwards"] = None, None
"""
HELP = "from vistok.inference.commands.tokenize_images import app; app()"


@pytest.mark.parametrize("adding", ["", ADDING])
def test_the_help_names_the_entries_of_the_tables(adding):
    environment = {**os.environ, "COLUMNS": "80"}
    said = subprocess.run(
        [sys.executable, "-c", adding + HELP, "--help"], capture_output=True, text=True, env=environment
    ).stdout
    assert "--model" in said and max(map(len, said.splitlines())) <= 80
    assert f"wds|parquet|megatron{'|jsonl' if adding else ''}" in said.split(), said
    assert f"local|ray{'|backwards' if adding else ''}" in said.split(), said
