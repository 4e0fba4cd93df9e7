"""Streams: over any ranks and workers each row comes once, a resumed one is as if it had never stopped."""

import json
from collections import Counter
from itertools import chain
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

import vistok
from shard_files import FORMATS
from token_folders import ROWS
from vistok.inference.token_dataset import stream as stream_module

ALL = sorted(f"s{shard}/é{row}" for shard, count in enumerate(ROWS) for row in range(count))
each_format = pytest.mark.parametrize("form", FORMATS)


@pytest.fixture
def as_worker(monkeypatch):
    """Let the code believe that it runs in a worker, as processes are slow to start."""

    def pretend(number, of):
        monkeypatch.setattr(stream_module, "get_worker_info", lambda: SimpleNamespace(id=number, num_workers=of))

    return pretend


def keys(rows):
    return [row.key for row in rows]


def batch_keys(batches):
    return [batch.keys for batch in batches]


@each_format
def test_in_order_a_stream_is_what_random_access_gives(form, folders):
    dataset = vistok.TokenDataset(folders(form))
    for streamed, row in zip(dataset.stream(), dataset, strict=True):
        assert torch.equal(streamed.tokens, row.tokens) and streamed[1:] == row[1:]


@each_format
def test_shuffled_rows_are_the_same_rows_in_another_order_each_epoch(form, folders):
    dataset = vistok.TokenDataset(folders(form))
    stream = dataset.stream(shuffle_buffer=5, seed=3)
    orders = []
    for epoch in range(3):
        stream.set_epoch(epoch)
        rows = list(stream)
        assert keys(rows) == keys(stream)
        assert all(torch.equal(row.tokens, dataset[row.key].tokens) for row in rows)
        orders.append(tuple(keys(rows)))
    stream = dataset.stream(shuffle_buffer=5, seed=4)
    orders.append(tuple(keys(stream)))
    assert len(set(orders)) == 4 and all(sorted(order) == ALL for order in orders)
    # With a buffer of one, shards are shuffled and rows stay together.
    found = {
        tuple(dict.fromkeys(key[:2] for key in keys(dataset.stream(shuffle_buffer=1, seed=seed)))) for seed in range(9)
    }
    assert len(found) > 3 and all(sorted(order) == ["s0", "s2", "s3", "s4"] for order in found)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 24])
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_over_all_ranks_and_workers_each_row_comes_once(world_size, workers, dataset, as_worker):
    for buffer in (0, 1, 4):
        found, sizes = [], []
        for rank in range(world_size):
            before = len(found)
            stream = dataset.stream(shuffle_buffer=buffer, rank=rank, world_size=world_size)
            for worker in range(max(1, workers)):
                if workers:
                    as_worker(worker, workers)
                found += keys(stream)
            sizes.append(len(found) - before)
            assert sizes[-1] == stream.rows
        assert sorted(found) == ALL and max(sizes) - min(sizes) <= 1


def test_ranks_get_one_row_more_or_none_or_one_twice(dataset):
    def counted(uneven, epoch=0):
        streams = [dataset.stream(shuffle_buffer=4, rank=rank, world_size=4, uneven=uneven) for rank in range(4)]
        for stream in streams:
            stream.set_epoch(epoch)
        return [stream.rows for stream in streams], Counter(key for stream in streams for key in keys(stream))

    sizes, rows = counted("keep")
    assert sizes == [5, 5, 5, 4] and sorted(rows.elements()) == ALL
    left_out = []
    for epoch in range(4):
        sizes, rows = counted("drop", epoch)
        assert sizes == [4, 4, 4, 4] and set(rows.values()) == {1}
        left_out.append(tuple(sorted(set(ALL) - set(rows))))
    assert len(set(left_out)) > 1
    sizes, rows = counted("repeat")
    assert sizes == [5, 5, 5, 5] and set(rows) == set(ALL) and sorted(rows.values())[-2:] == [1, 2]


@each_format
@pytest.mark.parametrize("buffer", [0, 4])
def test_a_resumed_stream_never_stopped(form, buffer, folders):
    dataset = vistok.TokenDataset(folders(form))
    stream = dataset.stream(shuffle_buffer=buffer, rank=0, world_size=2)
    stream.set_epoch(2)
    whole = keys(stream)
    rows = iter(stream)
    for taken in range(len(whole) + 1):
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = dataset.stream(shuffle_buffer=buffer, rank=0, world_size=2)
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        assert keys(resumed) == whole[taken:]
        assert keys(resumed) == whole  # the next iteration is whole again
        assert next(rows, None) is None or taken < len(whole)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_resumed_loader_never_stopped(workers, drop_last, dataset):
    stream = dataset.stream(shuffle_buffer=6, seed=1, rank=1, world_size=2)
    loader = stream.loader(2, workers, drop_last=drop_last)
    loader.set_epoch(1)
    whole = batch_keys(loader)
    assert len(loader) == len(whole) == (4 if drop_last else 5)
    taken = iter(loader)
    for number in range(len(whole) + 1):
        state = json.loads(json.dumps(loader.state_dict())) if number else None
        if state:
            again = stream.loader(2, workers, drop_last=drop_last)
            again.load_state_dict(state)
            again.set_epoch(1)  # as a loop over epochs does
            assert batch_keys(again) == whole[number:]
            assert again.state_dict()["batches"] == len(whole)
        next(taken, None)
    again.set_epoch(2)
    assert batch_keys(again) not in (whole, [])


def test_a_loader_of_any_number_of_workers_resumes(dataset, as_worker):
    """The workers of a DataLoader, played one after another: batch i is of worker i modulo their number."""
    for workers in (1, 2, 3, 5, 7):
        for size in (1, 2, 3):
            expected = played(dataset, workers, size, 0, as_worker)
            assert sorted(chain.from_iterable(expected)) == ALL
            assert len(dataset.stream().loader(size)) == -(-19 // size)
            for given in range(len(expected) + 1):
                assert played(dataset, workers, size, given, as_worker) == expected[given:]


def played(dataset, workers, size, given, as_worker):
    batches = []
    for worker in range(workers):
        as_worker(worker, workers)
        stream = dataset.stream(shuffle_buffer=3)
        stream._place.set_given(given, size)
        rows = keys(stream)
        batches.append([rows[start : start + size] for start in range(0, len(rows), size)])
    longest = max(map(len, batches))
    turns = [[each[turn] for each in batches if turn < len(each)] for turn in range(longest)]
    assert [len(each) for each in turns] == sorted(map(len, turns), reverse=True)
    return [batch for turn in turns for batch in turn]


def test_workers_that_persist_follow_the_epoch(dataset):
    loader = dataset.stream(shuffle_buffer=4).loader(4, 1, persistent_workers=True)
    fresh = dataset.stream(shuffle_buffer=4).loader(4, 0)
    for epoch in (0, 1, 5):
        loader.set_epoch(epoch)
        fresh.set_epoch(epoch)
        assert batch_keys(loader) == batch_keys(fresh)
    iterator = iter(loader)
    next(iterator)
    del iterator
    assert batch_keys(loader) == batch_keys(fresh)


def test_a_state_says_where_the_next_row_is_also_before_the_first_one(dataset):
    stream = dataset.stream(shuffle_buffer=4)
    whole = keys(stream)
    assert stream.state_dict()["emitted"] == len(whole)
    iter(stream)
    assert stream.state_dict()["emitted"] == 0
    ended = {**stream.state_dict(), "emitted": len(whole)}
    resumed = dataset.stream(shuffle_buffer=4)
    resumed.load_state_dict(ended)
    resumed.set_epoch(0)  # as a loop over epochs does
    assert keys(resumed) == [] and keys(resumed) == whole
    resumed.load_state_dict(ended)
    resumed.set_epoch(1)
    assert resumed.state_dict()["emitted"] == 0 and sorted(keys(resumed)) == ALL


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize("options", [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_torchdata_resumes_a_stream_too(dataset, options):
    """At any batch of the second epoch, the first and the last included; the epoch after it is whole again."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def begin():
        stream = dataset.stream(shuffle_buffer=4, seed=2)
        return stream, stateful.StatefulDataLoader(stream, batch_size=3, collate_fn=dataset.collate, **options)

    def epoch(stream, loader, number):
        stream.set_epoch(number)
        return batch_keys(loader)

    stream, loader = begin()
    whole = [epoch(stream, loader, number) for number in range(3)]
    count = len(whole[1])
    for taken in (0, 1, 3, count) if options else range(count + 1):
        stream, stopped = begin()
        epoch(stream, stopped, 0)
        stream.set_epoch(1)
        batches = iter(stopped)
        assert [next(batches).keys for _ in range(taken)] == whole[1][:taken]
        stream, resumed = begin()
        resumed.load_state_dict(stopped.state_dict())
        assert batch_keys(resumed) == whole[1][taken:]
        assert epoch(stream, resumed, 2) == whole[2]


def test_a_state_of_another_order_is_refused(dataset, folders, as_worker):
    state = dataset.stream(shuffle_buffer=2).loader(4).state_dict()
    sentence = (
        r"The state is of a stream with {}: its rows come in another order there\. Make the stream as it was, or begin the "
        r"next epoch with set_epoch\(1\)\."
    )
    for other, said in (
        (dataset.stream(shuffle_buffer=2).loader(4, 2), "workers 1, not 2"),
        (dataset.stream(shuffle_buffer=3).loader(2), "shuffle_buffer 2, not 3 and batch_size 4, not 2"),
        (dataset.stream(shuffle_buffer=2, rank=0, world_size=2).loader(4), "world_size 1, not 2"),
        (vistok.TokenDataset(folders("megatron")).stream(shuffle_buffer=2).loader(4), "another set of shards"),
    ):
        with pytest.raises(ValueError, match=sentence.format(said)):
            other.load_state_dict(state)
    stream = dataset.stream()
    stream.load_state_dict(dataset.stream().state_dict())
    as_worker(1, 3)
    with pytest.raises(ValueError, match=sentence.format("workers 1, not 3")):
        list(stream)


def test_a_state_that_only_the_loader_knows_is_refused(dataset):
    stream = dataset.stream()
    assert len(list(DataLoader(stream, 4, num_workers=1, collate_fn=dataset.collate))) == 5
    with pytest.raises(
        ValueError, match=r"are read by workers, and how many were taken is known to their loader alone: use"
    ):
        stream.state_dict()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shuffle_buffer": -1}, "shuffle_buffer is -1, but must be a number of rows, or 0 for rows in order."),
        ({"uneven": "pad"}, "uneven is 'pad', but must be one of keep, drop, repeat."),
        ({"rank": 0}, "Only one of rank and world_size was given: give both, or none."),
        ({"rank": 2, "world_size": 2}, "rank is 2 and world_size 2, but ranks are 0 to world_size - 1."),
    ],
)
def test_wrong_settings_are_a_sentence(settings, sentence, dataset):
    with pytest.raises(ValueError) as raised:
        dataset.stream(**settings)
    assert str(raised.value) == sentence


def test_wrong_loaders_and_epochs_are_a_sentence(dataset):
    with pytest.raises(ValueError, match="batch_size is 0, but must be at least 1."):
        dataset.stream().loader(0)
    with pytest.raises(
        ValueError, match="in_order=False gives batches as they come, which cannot be resumed: leave it out."
    ):
        dataset.stream().loader(1, in_order=False)
    with pytest.raises(ValueError, match="The epoch is -1, but must be a number from 0 on."):
        dataset.stream().set_epoch(-1)


def test_ranks_come_from_the_launcher(dataset, monkeypatch):
    assert dataset.stream().rows == 19
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert keys(dataset.stream()) == keys(dataset.stream(rank=1, world_size=4))
