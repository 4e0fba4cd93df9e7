"""Unreadable images are left out, each named once, and too many of them stop the work."""

import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from runs import QUANTIZERS, batches, config, data_config, logged, new_process
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.data import unreadable_images as module
from vistok.train.data.config import DataConfig, SourceConfig
from vistok.train.data.crops import TrainingCrops
from vistok.train.data.read_images import ImageReader
from vistok.train.data.source_images import SourceImages
from vistok.train.data.unreadable_images import UnreadableInTraining, UnreadableLimit
from vistok.train.loop import train


def test_chance_does_not_stop_a_collection_that_is_good_enough():
    """With 0.9 % unreadable of 10,000, of which 1 % are allowed, fewer than 1 in 100 orders may end a run early."""
    stopped = {0.009: 0, 0.03: 0}
    limit = UnreadableLimit(stop_at_first=False, max_fraction=0.01)
    for fraction in stopped:
        for seed in range(100):
            is_bad = np.random.default_rng(seed).permutation(10_000) < fraction * 10_000
            try:
                # Only at an unreadable image can the limit be passed.
                for unreadable, drawn in enumerate(is_bad.nonzero()[0] + 1, 1):
                    limit.check(unreadable, 10_000, "x", int(drawn))
            except WorkFailedError:
                stopped[fraction] += 1
    assert stopped[0.009] <= 5 and stopped[0.03] == 100


def test_few_never_count_and_exactly_the_fraction_is_allowed():
    limit = UnreadableLimit(stop_at_first=False, max_fraction=0.01)
    limit.check(9, 10, "")
    limit.check(10, 1000, "")
    with pytest.raises(WorkFailedError, match=r"11 of the 1000 images cannot be read, more than data.max_unreadable"):
        limit.check(11, 1000, "x")
    for hundredths in range(10, 100):  # in float64 0.29 of 100 is less than 29
        limit = UnreadableLimit(False, hundredths / 100)
        assert limit.allows(hundredths, 100) and limit.allows(10 * hundredths, 1000)
        limit.check(hundredths, 100, "", drawn=100)
        assert not limit.allows(hundredths + 1, 100) and not limit.allows(10 * hundredths + 1, 1000)


def test_streamed_images_leave_unreadable_ones_out(one_broken):
    warnings = []

    def read(limit):
        entries = SourceImages().of(SourceConfig(path=str(one_broken)))
        return list(ImageReader(PreprocessingConfig(size=32), 8, 2).readable(entries, limit, warnings.append))

    found = read(UnreadableLimit(False, 0.01))
    assert len(found) == 40 and all(image.shape == (32, 32, 3) for image in found)
    (warning,) = warnings
    assert "99.jpg cannot be used" in warning and warning.endswith("it is left out.")
    with pytest.raises(WorkFailedError, match=r"99.jpg cannot be used .*: repair or remove it"):
        read(UnreadableLimit(True, 0))
    for path in one_broken.iterdir():
        path.write_bytes(b"")
    with pytest.raises(WorkFailedError, match="10 of the 41 images cannot be read, more than data.max_unreadable"):
        read(UnreadableLimit(False, 0.01))
    with pytest.raises(WorkFailedError, match="none of the 41 images can be read; the last: "):
        read(UnreadableLimit(False, 1))


def run(out, one_broken, *more):
    shared = [f"data.train={one_broken}", "data.val=[]", *QUANTIZERS["fsq"], "data.batch_size=8", *more]
    return train(config(out, *shared, steps=12))


def test_a_run_goes_on_and_says_which_image_once(one_broken, tmp_path, capsys):
    run(tmp_path / "run", one_broken)
    said = capsys.readouterr().out
    assert said.count("99.jpg cannot be used") == 1 and "others take its place" in said
    counted = [line["data/unreadable"] for line in logged(tmp_path / "run")]
    expected = [
        batch.unreadable for batch in batches(TrainingCrops(data_config(one_broken, batch_size=8), 0), steps=12)
    ]
    assert counted == [len(expected[n]) + len(expected[n + 1]) for n in range(0, 12, 2)]
    assert sum(counted) > 1


def test_a_run_with_an_unreadable_image_is_taken_up_exactly(one_broken, tmp_path):
    """The step where it goes on is in the middle of a window of the log."""
    more = ["run.log_every=5", "run.save_every=4", "run.keep_checkpoints=9"]
    whole = run(tmp_path / "whole", one_broken, *more)
    new_process()
    late = tmp_path / "late"
    shutil.copytree(tmp_path / "whole", late)
    for step in (8, 12):
        shutil.rmtree(late / "checkpoints" / f"step-{step:07d}")
    shutil.rmtree(late / "export")
    again = run(late, one_broken, *more, "data.workers=2")
    assert (late / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert sum(line["data/unreadable"] for line in logged(late)) > 1
    weights = [(folder / "model.safetensors").read_bytes() for folder in (whole, again)]
    assert weights[0] == weights[1]


def test_many_end_a_run_in_a_sentence(one_broken, tmp_path):
    for number in range(12):
        (one_broken / f"{number:02d}.png").write_bytes(b"")
    with pytest.raises(
        WorkFailedError,
        match=r"1[0-3] of the (16|32|41) images drawn so far cannot be read, more than data.max_unreadable \(0.01\) allows; "
        r"the last: .* cannot be used \(.*\): repair or remove them, or raise data.max_unreadable\.",
    ):
        run(tmp_path / "run", one_broken)
    new_process()
    run(tmp_path / "more", one_broken, "data.max_unreadable=0.5")


def test_processes_name_an_image_once_and_stop_together(monkeypatch):
    """Two processes, simulated: what each sends is what both get."""
    data = DataConfig.model_validate({"train": "x", "batch_size": 2})
    seen = [["a: 1", "b: 2"], ["b: 2", "b: 2"]]
    sums = torch.tensor([4, 3])
    for rank in range(2):
        process = SimpleNamespace(device=torch.device("cpu"), reduce=lambda counts, reduction: sums)
        images = UnreadableInTraining(data.unreadable_limit, data.batch_size, 100, process)
        images.observe(seen[rank])
        monkeypatch.setattr(module, "gather_object", lambda mine: ["a: 1", "b: 2", "b: 2"])
        window = images.summarise(5)
        assert window.values == {"data/unreadable": 4}
        assert window.warnings == ["a: 1: others take its place.", "b: 2: others take its place."]
        images.observe(["b: 2"])
        assert images.rank_state_dict() == {"count": 1, "new": []}


@pytest.mark.parametrize("stops, fraction", [(False, 0.4), (True, 0.8)])
def test_the_fraction_is_that_of_all_that_were_drawn(stops, fraction):
    """Of many images every other cannot be read: for 50 crops, 50 that can were drawn and as many that cannot, not 50."""
    data = DataConfig.model_validate({"train": "x", "batch_size": 10, "max_unreadable": 0.5})
    images = UnreadableInTraining(data.unreadable_limit, data.batch_size, 100_000, Accelerator(cpu=True))
    each = round(10 * fraction / (1 - fraction))
    names = iter(range(1000))
    with pytest.raises(WorkFailedError, match="of the 50 images drawn so far") if stops else nullcontext():
        for step in range(1, 6):
            images.observe([str(next(names)) for _ in range(each)])
            images.summarise(step)
            again = UnreadableInTraining(data.unreadable_limit, data.batch_size, 100_000, Accelerator(cpu=True))
            again.load_state_dict(images.state_dict())
            images = again


def test_what_was_named_outlives_a_checkpoint():
    data = DataConfig.model_validate({"train": "x", "batch_size": 100})
    first, second = (
        UnreadableInTraining(data.unreadable_limit, data.batch_size, 100, Accelerator(cpu=True)) for _ in range(2)
    )
    first.observe([str(number) for number in range(9)])
    first.summarise(1)
    first.observe(["one more"])
    second.load_state_dict(first.state_dict())
    second.load_rank_state_dict(first.rank_state_dict())
    with pytest.raises(WorkFailedError, match="10 of the 100 images drawn so far"):
        second.summarise(2)
