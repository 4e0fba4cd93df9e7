"""Batches do not depend on workers, processes or the step at which a run resumes."""

import pytest
import torch

from runs import batches, data_config
from vistok.train.data.crops import TrainingCrops


def crops(folder, **more):
    return TrainingCrops(data_config(folder, **more), seed=5)


def test_a_resumed_run_sees_what_it_would_have_seen(images):
    whole, late = batches(crops(images)), batches(crops(images), start=4)
    assert len(late) == 2 and all(torch.equal(a.crops, b.crops) for a, b in zip(whole[4:], late, strict=True))


def test_processes_split_the_batch_of_one(images):
    halves = [batches(crops(images), rank=rank, world=2) for rank in range(2)]
    for one, *parts in zip(batches(crops(images)), *halves, strict=True):
        assert torch.equal(one.crops, torch.cat([part.crops for part in parts]))


def test_worker_processes_change_nothing(images):
    for one, other in zip(batches(crops(images)), batches(crops(images, workers=2)), strict=True):
        assert torch.equal(one.crops, other.crops)


def test_a_batch_that_cannot_be_split_is_refused(images):
    with pytest.raises(
        ValueError,
        match="data.batch_size is 4, but must be a multiple of the processes times run.gradient_accumulation, 3 x 1",
    ):
        batches(crops(images), world=3)
