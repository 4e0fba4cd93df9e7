"""What a call knows of its progress."""

from vistok.inference.tokenize.job import ShardProgress, ShardResult
from vistok.inference.tokenize.results import Totals


def test_a_shard_that_has_only_begun_does_not_halve_what_is_expected():
    totals = Totals(1, 16, planned=3)
    assert totals.expected_images == 0
    totals.add_progress(ShardProgress("a", 40, 8))
    totals.add_progress(ShardProgress("b", 0))
    assert totals.expected_images == 3 * 40
    totals.add_progress(ShardProgress("b", 20))
    assert totals.expected_images == 3 * 30
    for name, samples in (("a", 40), ("b", 20), ("empty", 0)):
        totals.add(ShardResult(name, samples))
    assert totals.expected_images == 60 == totals.progress["images"]
