"""What a call remembers of its shards does not grow with the failures in them, and no total depends on that."""

import json

import pytest

from samples import image_bytes, noise_image
from vistok.inference.inputs.samples import Failure
from vistok.inference.token_shards import sidecar
from vistok.inference.token_shards.sidecar import all_sidecars, sidecars
from vistok.inference.token_shards.store import LocalStore
from vistok.inference.tokenize import results
from vistok.inference.tokenize.job import ShardResult
from vistok.inference.tokenize.results import MAX_FAILURES, Totals


@pytest.fixture
def photos(tmp_path):
    """Nine images, of which seven are broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(9):
        content = image_bytes(noise_image(64, 64, index), "PNG") if index in (2, 6) else b"broken"
        (folder / f"{index}.png").write_bytes(content)
    return folder


def test_some_failures_are_remembered_and_all_are_counted():
    totals = Totals(1, 300, 4)
    for shard in range(4):
        failures = [Failure(f"{shard}/{index}", f"{index}.png", "broken") for index in range(700)]
        totals.add(ShardResult(f"s{shard}", 700, failures=failures))
    assert totals.failed == 2800 and totals.progress["failures"] == 2800
    assert len(totals.failures) == MAX_FAILURES == 1000 and len({row.key for row in totals.failures}) == 1000


def test_the_summary_counts_all_failures(tokenize, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "MAX_FAILURES", 3)
    call = (photos, "--shard-size", 2)
    said = tokenize(*call, "--out", tmp_path / "out")
    assert "2 tokenized, 7 failed" in said and said.count("  failed: ") == 3
    assert "  ... and 4 more, see the .json beside each shard" in said
    lines = tokenize(*call, "--out", tmp_path / "other", "--json").splitlines()
    told = json.loads(next(line for line in lines if line.startswith("{")))
    assert told["images"]["failed"] == 7 and len(told["failures"]) == 3 and told["folder"]["failures"] == 7
    listed = [json.loads(path.read_bytes()).get("failures") for path in sorted((tmp_path / "out").glob("images*.json"))]
    assert [row["source"] for rows in listed for row in rows] == [f"{index}.png" for index in (0, 1, 3, 4, 5, 7, 8)]


def test_sidecars_that_are_read_in_parts_are_the_same(tokenize, photos, tmp_path, monkeypatch):
    call = (photos, "--shard-size", 2, "--out", tmp_path / "out")
    tokenize(*call)
    store = LocalStore(tmp_path / "out")
    (store.folder / "images-00001.tar").unlink()
    manifest = (store.folder / "manifest.json").read_bytes()
    whole, every = list(sidecars(store)), list(all_sidecars(store, store.sizes()))
    monkeypatch.setattr(sidecar, "READ_TOGETHER", 1)
    assert list(sidecars(store)) == whole and list(all_sidecars(store, store.sizes())) == every
    assert [each.shard for each in every] == [f"images-0000{index}.tar" for index in range(5)] and len(whole) == 4
    assert "1 written, 4 done before" in tokenize(*call)
    assert (store.folder / "manifest.json").read_bytes() == manifest
