"""Latents are a uniform, seeded sample of all images, and no more images are read than it takes."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from vistok.images.file_entry import Entry
from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.data.read_images import ImageReader
from vistok.train.data.unreadable_images import UnreadableImageError, UnreadableLimit
from vistok.train.finetune import sample_latents as module
from vistok.train.finetune.sample_latents import sample_latents
from vistok.train.finetune.swap_quantizer import LatentPairs

SIDE = 32
GRID = (SIDE // 2) ** 2
SKIP = UnreadableLimit(False, 0.5)


class Model(nn.Module):
    """Latents at half the size that encode their image and position."""

    downsample = 2
    architecture = SimpleNamespace(latent_grid=lambda height, width: (height // 2, width // 2))

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


@pytest.fixture
def world(monkeypatch):
    """Images that need no file: image n is full of n; `read` lists which were opened, `broken` cannot be."""
    state = {"read": [], "broken": set(), "sizes": {}}
    lock = threading.Lock()

    def image(self, entry):
        with lock:
            state["read"].append(entry.offset)
        if entry.offset in state["broken"]:
            raise UnreadableImageError(f"{entry.name} cannot be used (broken)")
        height, width = state["sizes"].get(entry.offset, (SIDE, SIDE))
        pixels = torch.zeros(height, width, 3, dtype=torch.uint8)
        pixels[..., 0], pixels[..., 1] = entry.offset % 256, entry.offset // 256
        return pixels

    def pairs(model, pixels):
        b, _, h, w = pixels.shape
        values = (pixels[:, :, ::2, ::2] + 1) * 127.5
        number = (values[:, 0] + 256 * values[:, 1]).round().reshape(b, -1)
        place = torch.arange(h * w // 4).repeat(b, 1)
        rows = torch.stack([number, place], dim=-1).reshape(-1, 2)
        return LatentPairs(rows, -rows)

    monkeypatch.setattr(ImageReader, "image", image)
    monkeypatch.setattr(module, "latent_pairs", pairs)
    return state


def entries(count):
    return [Entry(f"{n // 100}.tar", n, 1, f"{n}.png") for n in range(count)]


def sample(count, wanted, seed=0, limit=SKIP, size=SIDE, warn=lambda _: None, threads=2):
    reader = ImageReader(PreprocessingConfig(size=size), 2, threads)
    found = sample_latents(Model(), entries(count), reader, wanted, seed, limit, warn, quiet=True)
    assert torch.equal(found.vectors, -found.targets)
    return found.vectors.long().numpy()


def test_no_more_images_are_read_than_it_takes(world):
    rows = sample(3000, 6400)
    assert len(rows) == 6400 and len(world["read"]) == 100 == len(set(world["read"]))
    numbers, counts = np.unique(rows[:, 0], return_counts=True)
    assert set(numbers) == set(world["read"]) and (counts == 64).all()
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_few_images_give_more_each_and_all_are_read(world):
    rows = sample(30, 6400)
    _, counts = np.unique(rows[:, 0], return_counts=True)
    assert len(rows) == 6400 and len(world["read"]) == 30 and 190 <= counts.min() and counts.max() == 214
    world["read"].clear()
    assert len(np.unique(sample(10, 6400), axis=0)) == 10 * GRID  # all there are


def test_every_image_and_place_is_as_likely_as_any_other(world):
    """Chi-squared over many seeds: of 64 degrees of freedom, 120 has a probability of one in fifty thousand."""
    images, places, seeds = 65, 65, 120
    drawn, cells = np.zeros(images), np.zeros(GRID)
    for seed in range(seeds):
        rows = sample(images, 64 * 13, seed, threads=1)
        drawn[np.unique(rows[:, 0])] += 1
        cells += np.bincount(rows[:, 1], minlength=GRID)
    assert drawn.sum() == 13 * seeds
    expected, variance = 13 * seeds / images, 13 * seeds / images * (1 - 13 / images)
    assert ((drawn - expected) ** 2 / variance).sum() < 120
    groups = np.add.reduceat(cells, np.linspace(0, GRID, places, endpoint=False).astype(int))
    sizes = np.diff(np.append(np.linspace(0, GRID, places, endpoint=False).astype(int), GRID))
    expected = cells.sum() * sizes / GRID
    assert ((groups - expected) ** 2 / expected).sum() < 120


def test_all_shards_have_their_fraction(world):
    """Thirty shards of 100 images, and one image in 15 drawn."""
    rows = sample(3000, 64 * 200)
    shards = np.bincount(np.unique(rows[:, 0]) // 100, minlength=30)
    assert shards.sum() == 200 and shards.min() >= 1 and shards.max() <= 18


def test_the_seed_decides_and_threads_do_not(world):
    assert np.array_equal(sample(500, 900, seed=3), sample(500, 900, seed=3, threads=5))
    assert not np.array_equal(sample(500, 900, seed=3), sample(500, 900, seed=4))


def test_what_cannot_be_read_is_made_up_for_and_moves_no_other(world):
    before = sample(500, 6400)
    numbers = np.unique(before[:, 0])
    world["broken"] = set(numbers[::10])
    warnings = []
    after = sample(500, 6400, warn=warnings.append)
    assert len(after) == 6400 and len(warnings) == 10 and "cannot be used (broken): it is left out." in warnings[0]
    kept = {tuple(row) for row in before if row[0] not in world["broken"]}
    assert kept < {tuple(row) for row in after}
    assert len(np.unique(after[:, 0])) == 100 and not set(after[:, 0]) & world["broken"]


def test_small_images_are_made_up_for_by_others(world):
    world["sizes"] = dict.fromkeys(range(0, 200, 2), (4, 4))  # four vectors each
    rows = sample(200, 3000, size="native")
    _, counts = np.unique(rows[:, 0], return_counts=True)
    assert len(rows) == 3000 and set(counts) <= {4, 64, *range(1, 64)} and (counts == 64).sum() >= 40


def test_the_tolerance_is_of_the_images_drawn(world):
    world["broken"] = set(range(0, 1000, 5))
    with pytest.raises(WorkFailedError, match=r"\d+ of the \d+ images drawn so far cannot be read, more than data.max"):
        sample(1000, 6400, limit=UnreadableLimit(False, 0.05))
    assert len(world["read"]) < 120
    assert len(sample(1000, 6400, limit=UnreadableLimit(False, 0.35))) == 6400
    with pytest.raises(WorkFailedError, match=r"cannot be used \(broken\): repair or remove it, or set data.on_error"):
        sample(1000, 6400, limit=UnreadableLimit(True, 0))
    world["broken"] = set(range(50))
    with pytest.raises(WorkFailedError, match="none of the 50 images can be read; the last: "):
        sample(50, 6400, limit=UnreadableLimit(False, 1))
