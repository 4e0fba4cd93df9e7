"""A filesystem that fails on demand, and waits that are short."""

import pytest

from flaky_filesystem import FlakyFileSystem
from vistok.inference.token_shards import remote_store
from vistok.inference.token_shards.marker import Pace
from vistok.tokenizer import retries


@pytest.fixture
def quick_store(monkeypatch):
    """Begin with an empty FlakyFileSystem, and wait for nothing."""
    monkeypatch.setattr(retries, "FIRST_WAIT", 1e-4)
    monkeypatch.setattr(remote_store, "PACE", Pace(beat=0.05, stale=0.4, settle=0))
    FlakyFileSystem.reset()
