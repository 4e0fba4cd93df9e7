"""Images that cannot be read have replacements, are counted and named, and end a run when they are many."""

import shutil
import tarfile
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from runs import QUANTIZERS, config, logged
from samples import image_bytes, noise_image
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.data import unreadable as module
from vistok.train.data.batches import training_batches
from vistok.train.data.crops import TrainingCrops
from vistok.train.data.listing import Listing
from vistok.train.data.reading import Reader, readable_images
from vistok.train.data.sources import DataConfig, SourceConfig
from vistok.train.data.tolerance import Tolerance
from vistok.train.data.unreadable import UnreadableImages
from vistok.train.loop import train

SIZE = 48


@pytest.fixture
def photos(tmp_path):
    """Forty images and one that is cut."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        noise_image(SIZE, SIZE, seed=number).save(folder / f"{number:02d}.png")
    (folder / "99.jpg").write_bytes(image_bytes(noise_image(SIZE, SIZE), "JPEG")[:-400])
    return folder


def crops_of(folder, seed=5, **more):
    values = {"train": str(folder), "size": 32, "batch_size": 8, "workers": 0, **more}
    return TrainingCrops(DataConfig.model_validate(values), seed)


def batches(crops, start=0, steps=12, rank=0, world=1):
    return list(training_batches(crops, start, steps, rank, world))


def test_a_replacement_depends_on_the_position_alone(photos):
    whole = batches(crops_of(photos))
    assert sum(len(batch.unreadable) for batch in whole) > 0
    assert {message for batch in whole for message in batch.unreadable} == {
        next(message for batch in whole for message in batch.unreadable)
    }
    late = batches(crops_of(photos), start=7)
    worked = batches(crops_of(photos, workers=2, cached_images=3))
    shares = [batches(crops_of(photos), rank=rank, world=2) for rank in range(2)]
    for step, (crops, unreadable) in enumerate(whole):
        assert torch.equal(worked[step].crops, crops) and worked[step].unreadable == unreadable
        halves = [share[step] for share in shares]
        assert torch.equal(torch.cat([half.crops for half in halves]), crops)
        assert halves[0].unreadable + halves[1].unreadable == unreadable
    for batch, again in zip(whole[7:], late, strict=True):
        assert torch.equal(batch.crops, again.crops)


def test_positions_of_good_images_are_what_they_were(photos):
    """The broken image is the last of 41."""
    crops = crops_of(photos)
    broken = [position for position in range(120) if crops.mixture.place(position).image == 40]
    with_replacements = [crops[position].pixels for position in range(120)]
    noise_image(SIZE, SIZE, seed=40).save(photos / "99.jpg", "PNG")
    mended = crops_of(photos)
    differ = [p for p in range(120) if not torch.equal(with_replacements[p], mended[p].pixels)]
    assert broken and differ == broken


def test_a_replacement_comes_from_the_same_source(photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for number in range(3):
        noise_image(SIZE, SIZE, seed=100 + number).save(other / f"{number}.png")
    (other / "3.png").write_bytes(b"")
    crops = crops_of(photos, train=[str(photos), str(other)])
    good = [np.asarray(noise_image(SIZE, SIZE, seed=100 + number)) for number in range(3)]
    replaced = [p for p in range(200) if crops.mixture.place(p) == (1, 3)]
    assert len(replaced) > 3
    for position in replaced:
        crop, (said, *_) = crops[position]
        assert "3.png cannot be used (" in said
        windows = [np.lib.stride_tricks.sliding_window_view(image, (32, 32, 3))[:, :, 0] for image in good]
        seen = [crop.numpy(), crop.numpy()[:, ::-1]]
        assert any((window == view).all(axis=(2, 3, 4)).any() for window in windows for view in seen)


def test_a_missing_file_and_a_cut_shard_are_unreadable_images(tmp_path):
    noise_image(SIZE, SIZE).save(tmp_path / "a.png")
    noise_image(SIZE, SIZE).save(tmp_path / "b.png")
    with tarfile.open(tmp_path / "c.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "in-a-tar.png")
    crops = crops_of(tmp_path, train=[str(tmp_path / name) for name in ("a.png", "b.png", "c.tar")])
    (tmp_path / "b.png").unlink()
    (tmp_path / "c.tar").write_bytes((tmp_path / "c.tar").read_bytes()[:600])
    with pytest.raises(
        WorkFailedError, match=r"100 images of .*(b.png|c.tar) in a row cannot be read; the last: .*: look"
    ):
        [crops[position] for position in range(6)]


def test_a_process_without_files_left_does_not_blame_the_images(photos, monkeypatch):
    def refuse(*arguments, **settings):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("vistok.images.entry.Entry.open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        batches(crops_of(photos))


@pytest.mark.parametrize("workers", [0, 1])
def test_stop_ends_at_the_first_with_its_name(photos, workers):
    with pytest.raises(
        WorkFailedError, match=r"99.jpg cannot be used \(.*\): repair or remove it, or set .* to skip\."
    ) as error:
        batches(crops_of(photos, on_error="stop", workers=workers))
    assert "\n" not in str(error.value)


def run(out, photos, *more):
    shared = [f"data.train={photos}", "data.val=[]", *QUANTIZERS["fsq"], "data.batch_size=8", *more]
    return train(config(out, *shared, steps=12))


def test_a_run_goes_on_and_says_which_image_once(photos, tmp_path, capsys):
    run(tmp_path / "run", photos)
    said = capsys.readouterr().out
    assert said.count("99.jpg cannot be used") == 1 and "others take its place" in said
    counted = [line["data/unreadable"] for line in logged(tmp_path / "run")]
    expected = [batch.unreadable for batch in batches(crops_of(photos, seed=0))]
    assert counted == [len(expected[n]) + len(expected[n + 1]) for n in range(0, 12, 2)]
    assert sum(counted) > 1


def test_a_run_with_an_unreadable_image_is_taken_up_exactly(photos, tmp_path):
    """The step where it goes on is in the middle of a window of the log."""
    more = ["run.log_every=5", "run.save_every=4", "run.keep_checkpoints=9"]
    whole = run(tmp_path / "whole", photos, *more)
    AcceleratorState._reset_state(reset_partial_state=True)
    late = tmp_path / "late"
    shutil.copytree(tmp_path / "whole", late)
    for step in (8, 12):
        shutil.rmtree(late / "checkpoints" / f"step-{step:07d}")
    shutil.rmtree(late / "export")
    again = run(late, photos, *more, "data.workers=2")
    assert (late / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert sum(line["data/unreadable"] for line in logged(late)) > 1
    weights = [(folder / "model.safetensors").read_bytes() for folder in (whole, again)]
    assert weights[0] == weights[1]


def test_many_end_a_run_in_a_sentence(photos, tmp_path):
    for number in range(12):
        (photos / f"{number:02d}.png").write_bytes(b"")
    with pytest.raises(
        WorkFailedError,
        match=r"1[0-3] of the (16|32|41) images drawn so far cannot be read, more than data.max_unreadable \(0.01\) allows; "
        r"the last: .* cannot be used \(.*\): repair or remove them, or raise data.max_unreadable\.",
    ):
        run(tmp_path / "run", photos)
    AcceleratorState._reset_state(reset_partial_state=True)
    run(tmp_path / "more", photos, "data.max_unreadable=0.5")


def test_chance_does_not_stop_a_collection_that_is_good_enough():
    """With 0.9 % unreadable of 10,000, of which 1 % are allowed, fewer than 1 in 100 orders may end a run early."""
    stopped = {0.009: 0, 0.03: 0}
    for fraction in stopped:
        for seed in range(100):
            is_bad = np.random.default_rng(seed).permutation(10_000) < fraction * 10_000
            try:
                for drawn, bad in enumerate(is_bad.cumsum(), 1):
                    Tolerance(stops=False, fraction=0.01).check_drawn(int(bad), drawn, 10_000, "x")
            except WorkFailedError:
                stopped[fraction] += 1
    assert stopped[0.009] <= 5 and stopped[0.03] == 100


def test_few_never_count_and_exactly_the_fraction_is_allowed():
    tolerance = Tolerance(stops=False, fraction=0.01)
    tolerance.check(9, 9, "")
    tolerance.check(10, 1000, "")
    with pytest.raises(WorkFailedError, match=r"11 of the 1000 images cannot be read, more than data.max_unreadable"):
        tolerance.check(11, 1000, "x")
    for hundredths in range(10, 101):  # in float64 0.29 of 100 are fewer than 29
        tolerance = Tolerance(False, hundredths / 100)
        assert tolerance.allows(hundredths, 100) and tolerance.allows(10 * hundredths, 1000)
        tolerance.check_drawn(hundredths, 100, 100, "")
        assert not tolerance.allows(hundredths + 1, 100) and not tolerance.allows(10 * hundredths + 1, 1000)


def test_processes_name_an_image_once_and_stop_together(monkeypatch):
    """Two processes, simulated: what each sends is what both get."""
    data = DataConfig.model_validate({"train": "x", "batch_size": 2})
    seen = [["a: 1", "b: 2"], ["b: 2", "b: 2"]]
    sums = torch.tensor([4, 3])
    for rank in range(2):
        process = SimpleNamespace(device=torch.device("cpu"), reduce=lambda counts, reduction: sums)
        images = UnreadableImages(data, 100, process)
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
    images = UnreadableImages(data, 100_000, Accelerator(cpu=True))
    each = round(10 * fraction / (1 - fraction))
    names = iter(range(1000))
    with pytest.raises(WorkFailedError, match="of the 50 images drawn so far") if stops else nullcontext():
        for step in range(1, 6):
            images.observe([str(next(names)) for _ in range(each)])
            images.summarise(step)
            again = UnreadableImages(data, 100_000, Accelerator(cpu=True))
            again.load_state_dict(images.state_dict())
            images = again


def test_what_was_named_outlives_a_checkpoint():
    data = DataConfig.model_validate({"train": "x", "batch_size": 100})
    first, second = (UnreadableImages(data, 100, Accelerator(cpu=True)) for _ in range(2))
    first.observe([str(number) for number in range(9)])
    first.summarise(1)
    first.observe(["one more"])
    second.load_state_dict(first.state_dict())
    second.load_rank_state_dict(first.rank_state_dict())
    with pytest.raises(WorkFailedError, match="10 of the 100 images drawn so far"):
        second.summarise(2)


def test_streamed_images_leave_unreadable_ones_out(photos):
    warnings = []

    def read(tolerance):
        entries = Listing().images(SourceConfig(path=str(photos)))
        return list(readable_images(entries, Reader(PreprocessingConfig(size=32), 8, 2), tolerance, warnings.append))

    found = read(Tolerance(False, 0.01))
    assert len(found) == 40 and all(image.shape == (32, 32, 3) for image in found)
    (warning,) = warnings
    assert "99.jpg cannot be used" in warning and warning.endswith("it is left out.")
    with pytest.raises(WorkFailedError, match=r"99.jpg cannot be used .*: repair or remove it"):
        read(Tolerance(True, 0))
    for path in photos.iterdir():
        path.write_bytes(b"")
    with pytest.raises(WorkFailedError, match="10 of the 41 images cannot be read, more than data.max_unreadable"):
        read(Tolerance(False, 0.01))
    with pytest.raises(WorkFailedError, match="none of the 41 images can be read; the last: "):
        read(Tolerance(False, 1))
