"""Token shards and packed sequences behind URLs."""

import fsspec
import pytest

from shard_files import contents
from vistok.inference.token_shards import remote_store
from vistok.inference.token_shards.marker import Pace


@pytest.fixture
def memory(monkeypatch):
    """An empty filesystem in memory."""
    monkeypatch.setattr(remote_store, "PACE", Pace(beat=0.05, stale=0.4, settle=0))
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


def test_both_may_be_behind_urls(tokens, pack, verify, memory, tmp_path):
    for name, content in contents(tokens).items():
        memory.pipe_file(f"/tokens/{name}", content)
    pack(tokens, tmp_path / "p")
    assert "shards      5 written, 0 done before" in pack("memory://tokens", "memory://packed")
    there = {name.rpartition("/")[2]: memory.cat_file(name) for name in memory.ls("/packed", detail=False)}
    assert there == contents(tmp_path / "p")
    assert "shards      0 written, 5 done before" in pack("memory://tokens", "memory://packed")
    assert "memory://packed is whole, 11 rows of 11 images in 5 shards" in verify("memory://packed")
    assert "other settings" not in pack("memory://tokens", "memory://packed", "--overwrite", "--loss", "image")
    assert "--out is memory://tokens, where the token shards are" in pack("memory://tokens", "memory://tokens", code=2)
