"""Validation streams its images, and is a mean over images that no split over processes changes."""

import json
from contextlib import suppress

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from prepared import run_ranks

from samples import noise_image, small_tokenizer
from vistok.evaluation.metrics import psnr
from vistok.images.finding.index import index_images
from vistok.images.preprocessing import to_pixels
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train import validation as module
from vistok.train.data.read_images import ImageReader
from vistok.train.data.unreadable_images import UnreadableLimit
from vistok.train.validation import Validation

ONE_PERCENT = UnreadableLimit(False, 0.01)
NATIVE = PreprocessingConfig(size="native")


@pytest.fixture
def folder(tmp_path):
    sides = [(16, 16)] * 18 + [(24, 16)] * 5
    for seed, side in enumerate(sides):
        noise_image(*side, seed).save(tmp_path / f"{seed:02d}.png")
    return tmp_path


class Process(Accelerator):
    """One of several processes, which are played one after the other."""

    process_index = 0
    num_processes = 1
    is_main_process = True


def validation(folder, warn=print, limit=ONE_PERCENT, rank=0, world=1, preprocessing=NATIVE, threads=2, cpu=True):
    process = Process(cpu=cpu)
    process.process_index, process.num_processes, process.is_main_process = rank, world, rank == 0
    entries = index_images(str(folder))
    return Validation(entries, ImageReader(preprocessing, 8, threads), limit, process, warn)


def measured_by(monkeypatch, world, model, folder, **settings):
    """Return what each of `world` processes returns or raises: each sends its own, and all get the same."""
    alone = [validation(folder, rank=rank, world=world, **settings) for rank in range(world)]
    sent = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "gather_object", lambda mine: sent.extend(mine) or mine)
        for each in alone:
            with suppress(WorkFailedError, ZeroDivisionError):  # alone, it may have no image
                each.measure(model)
        patch.setattr(module, "gather_object", lambda mine: sent)
        found = []
        for rank in range(world):
            try:
                found.append(validation(folder, rank=rank, world=world, **settings).measure(model))
            except (WorkFailedError, OSError) as error:
                found.append(str(error))
    return found


def test_it_is_the_mean_over_single_images_whatever_the_caller_set(folder):
    model = small_tokenizer().eval()
    pixels = [
        to_pixels(torch.from_numpy(np.array(noise_image(*side, seed))).unsqueeze(0))
        for seed, side in enumerate([(16, 16)] * 18 + [(24, 16)] * 5)
    ]
    with torch.no_grad():
        expected = np.mean([float(psnr(one, model(one).pixels)) for one in pixels])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = validation(folder).measure(model)
    assert found["validation/psnr"] == pytest.approx(expected, abs=1e-6) and found["validation/images"] == 23
    assert found["validation/unreadable"] == 0


@pytest.mark.parametrize("preprocessing", [NATIVE, PreprocessingConfig(size=16)])
@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_processes_and_threads_change_no_bit(folder, monkeypatch, preprocessing, device):
    """More processes than images among them, so that some have none."""
    model = small_tokenizer().to(device)
    (folder / "07.png").write_bytes(b"")
    warnings, settings = [], {"preprocessing": preprocessing, "cpu": device == "cpu"}
    once = validation(folder, warnings.append, **settings).measure(model)
    assert once["validation/images"] == 22 and once["validation/unreadable"] == 1
    assert len(warnings) == 1 and "07.png cannot be used" in warnings[0]
    for world in (3, 25):
        assert measured_by(monkeypatch, world, model, folder, threads=1, **settings) == [once] * world


WORKER = """
import json, sys
from accelerate import Accelerator
from samples import small_tokenizer
from vistok.images.finding.index import index_images
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.data.read_images import ImageReader
from vistok.train.data.unreadable_images import UnreadableLimit
from vistok.train.validation import Validation
import torch

torch.manual_seed(0)
model, said = small_tokenizer(), []
for tolerance in (UnreadableLimit(False, 0.01), UnreadableLimit(True, 0.0), UnreadableLimit(False, 0.01)):
    reader = ImageReader(PreprocessingConfig(size=16), 8)
    images = Validation(index_images(sys.argv[1]), reader, tolerance, Accelerator(cpu=True), lambda warning: None)
    try:
        said.append(images.measure(model))
    except WorkFailedError as error:
        said.append(str(error))
images = Validation(index_images(sys.argv[2]), reader, tolerance, Accelerator(cpu=True), lambda warning: None)
try:
    images.measure(model)
except WorkFailedError as error:
    said.append(str(error))
print(json.dumps(said), flush=True)
"""


def test_two_real_processes_wait_for_nobody_and_say_the_same(folder, tmp_path_factory):
    """One of them alone finds what cannot be read, and both go on to the next call.

    Of the other folder, the first process stops at its limit, ten, and the second has three unreadable images.
    """
    bad = tmp_path_factory.mktemp("bad")
    for number in range(23):
        content = (folder / f"{number:02d}.png").read_bytes()
        (bad / f"{number:02d}.png").write_bytes(b"" if number % 2 == 0 or number < 6 else content)
    (folder / "07.png").write_bytes(b"")
    program = tmp_path_factory.mktemp("program") / "worker.py"
    program.write_text(WORKER)
    first, second = (json.loads(said.splitlines()[-1]) for said in run_ranks(program, [folder, bad], program.parent))
    torch.manual_seed(0)
    alone = validation(folder, preprocessing=PreprocessingConfig(size=16)).measure(small_tokenizer())
    assert first == second and first[0] == first[2] == alone
    assert "07.png cannot be used" in first[1]
    assert first[3].startswith("13 of the 23 images cannot be read, more than data.max_unreadable (0.01) allows")


def test_what_is_unreadable_is_named_once(folder):
    warnings = []
    (folder / "03.png").write_bytes(b"no image")
    images = validation(folder, warnings.append)
    first = images.measure(small_tokenizer())
    assert images.measure(small_tokenizer()) == first and len(warnings) == 1
    (folder / "04.png").unlink()  # vanishes during the run
    assert images.measure(small_tokenizer())["validation/unreadable"] == 2 and len(warnings) == 2
    assert "04.png cannot be used (the file cannot be read: No such file" in warnings[1]


@pytest.mark.parametrize("world", [1, 2, 5])
def test_the_tolerance_does_not_depend_on_the_number_of_processes(folder, monkeypatch, world):
    """All that is unreadable is the first process's: eleven of 23, where eleven of 22 would be a half."""
    model = small_tokenizer()
    for path in sorted(folder.iterdir())[::2][:11]:
        path.write_bytes(b"")
    allowed = measured_by(monkeypatch, world, model, folder, limit=UnreadableLimit(False, 0.48))
    assert all(found["validation/images"] == 12 for found in allowed)
    refused = measured_by(monkeypatch, world, model, folder, limit=UnreadableLimit(False, 0.47))
    assert len(set(refused)) == 1 and "11 of the 23 images cannot be read, more than data.max_unr" in refused[0]


def test_all_processes_stop_together_and_say_the_same(folder, monkeypatch):
    (folder / "05.png").write_bytes(b"")
    found = measured_by(monkeypatch, 4, small_tokenizer(), folder, limit=UnreadableLimit(True, 0))
    assert len(set(found)) == 1 and "05.png cannot be used" in found[0] and "set data.on_error to skip" in found[0]


def test_no_readable_image_is_an_error(folder, monkeypatch):
    for path in folder.iterdir():
        path.write_bytes(b"")
    found = measured_by(monkeypatch, 2, small_tokenizer(), folder, limit=UnreadableLimit(False, 1))
    assert len(set(found)) == 1 and "none of the 23 images can be read; the last: " in found[0]


def test_a_process_without_files_left_ends_all_of_them(folder, monkeypatch):
    def refuse(*arguments):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("vistok.images.file_entry.Entry.open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        validation(folder).measure(small_tokenizer())


def test_a_perfect_or_broken_reconstruction_is_not_hidden(folder):
    class Same(torch.nn.Module):
        def forward(self, pixels):
            return answer._replace(pixels=pixels * self.factor)

    model, answer = Same(), small_tokenizer()(torch.zeros(1, 3, 16, 16))
    for factor, expected in ((1.0, float("inf")), (float("nan"), float("nan"))):
        model.factor = factor
        assert validation(folder).measure(model)["validation/psnr"] == pytest.approx(expected, nan_ok=True)


def test_few_images_are_in_memory_at_a_time(folder, monkeypatch):
    """Counted where they are read and where they are let go, over more than a hundred images."""
    for seed in range(23, 120):
        noise_image(16, 16, seed).save(folder / f"{seed:03d}.png")
    living = []
    read = ImageReader.image

    def counted(self, entry):
        image = read(self, entry)
        living.append(1)
        most[0] = max(most[0], len(living))
        return Counted(image)

    class Counted(torch.Tensor):
        def __del__(self):
            living.pop()

        __torch_function__ = torch._C._disabled_torch_function_impl

    most = [0]
    monkeypatch.setattr(ImageReader, "image", counted)
    images = validation(folder, preprocessing=PreprocessingConfig(size=16))
    assert images.measure(small_tokenizer())["validation/images"] == 120
    assert most[0] < 40


def test_samples_are_the_first_that_can_be_read_and_no_others_are_opened(folder, monkeypatch):
    (folder / "01.png").write_bytes(b"")
    opened = []
    read = ImageReader.image
    monkeypatch.setattr(ImageReader, "image", lambda self, entry: opened.append(entry.name[-6:-4]) or read(self, entry))
    images = validation(folder)
    shown = images.samples(3)
    expected = [np.array(noise_image(16, 16, seed)) for seed in (0, 2, 3)]
    assert all((found.numpy() == image).all() for found, image in zip(shown, expected, strict=True))
    images.samples(2)
    assert opened == ["00", "01", "02", "03"]
    assert validation(folder, rank=1, world=2).samples(3) == []
