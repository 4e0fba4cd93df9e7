"""Every layout: its ids are those of its description, tokens come back exactly, and other ids are refused."""

import pickle

import pytest
import torch
from torch.overrides import TorchFunctionMode

from layout_cases import CASES, draw, written
from vistok.sequences.layouts import LAYOUTS, Grid, base
from vistok.tokenizer.quantizers.composed.multiscale import MultiscaleConfig
from vistok.tokenizer.quantizers.scalar.fsq import FSQConfig

every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def with_grids(case):
    layout = case.layout()
    for seed, grid in enumerate(case.grids):
        tokens = draw(case, grid, seed=seed)
        yield layout, Grid(*grid), tokens, layout.ids(tokens, Grid(*grid))


def test_all_layouts_are_tested():
    assert {case.name for case in CASES.values()} == set(LAYOUTS)


@every
def test_ids_are_those_of_the_description(case):
    for layout, grid, tokens, ids in with_grids(case):
        assert ids.tolist() == written(case, tokens, grid)
        assert ids.dtype == torch.int64 and layout.length(grid) == len(ids) and layout.name == case.name


@every
def test_tokens_come_back_with_the_grid_given_and_read(case):
    for layout, grid, tokens, ids in with_grids(case):
        assert torch.equal(layout.tokens(ids, grid), tokens)
        assert torch.equal(layout.tokens(ids, case.given(grid)), tokens)


@every
def test_the_grid_is_read_from_ids_that_go_on(case):
    if case.reads_grid:
        for layout, grid, _, ids in with_grids(case):
            assert layout.read_grid(ids) == layout.read_grid(torch.cat([ids, ids, torch.tensor([3])])) == grid


@every
def test_a_batch_is_its_images_one_by_one(case):
    layout, grid = case.layout(), Grid(*case.grids[2])
    tokens = draw(case, grid, batch=(3,))
    ids = layout.ids(tokens, grid)
    assert torch.equal(ids, torch.stack([layout.ids(image, grid) for image in tokens]))
    assert torch.equal(layout.tokens(ids, case.given(grid)), tokens)
    none = layout.ids(tokens[:0], grid)
    assert none.shape == (0, layout.length(grid)) and torch.equal(layout.tokens(none, grid), tokens[:0])


@every
def test_whatever_the_slots_allow_is_an_image(case):
    """Ids that a random model draws from the slots are those of some tokens, and of no others."""
    layout = case.layout()
    for grid in map(Grid._make, case.grids):
        slots = layout.slots(grid)
        drawn = slots.first + (torch.rand(5, len(slots.first), dtype=torch.float64) * slots.size).long()
        tokens = layout.tokens(drawn, case.given(grid))
        assert torch.equal(layout.ids(tokens, grid), drawn)
        header = layout.header_length(grid)
        assert (slots.source[:header] == -1).all() and slots.source[header] >= 0
        filled = slots.source[slots.source >= 0]
        assert torch.equal(filled.sort().values, torch.arange(len(filled)))
        assert (slots.size[slots.source < 0] == 1).all()


@every
def test_an_id_that_no_slot_allows_is_refused(case):
    layout, grid = case.layout(), Grid(*case.grids[2])
    tokens = draw(case, grid, batch=(2,))
    ids, slots = layout.ids(tokens, grid), layout.slots(grid)
    step = max(1, ids.shape[1] // 40)
    for position in range(0, ids.shape[1], step):
        first, end = int(slots.first[position]), int(slots.first[position] + slots.size[position])
        for wrong in (first - 1, end, -1, 2**60):
            changed = ids.clone()
            changed[1, position] = wrong
            allowed = f"{first}" if end == first + 1 else f"{first} to {end - 1}"
            sentence = (
                rf"^ids have {wrong} at position {position} of row 1, where the layout {case.name} of a grid of {grid} has "
                rf"{allowed}: give the ids of one image, whole, and its grid\.$"
            )
            with pytest.raises(ValueError, match=sentence):
                layout.tokens(changed, grid)


@every
def test_a_truncated_sequence_is_refused(case):
    layout, grid = case.layout(), Grid(*case.grids[2])
    ids = layout.ids(draw(case, grid), grid)
    for length in {0, 1, layout.header_length(grid), len(ids) // 2, len(ids) - 1}:
        sentence = (
            rf"^ids end after {length}, but the layout {case.name} has {len(ids)} for a grid of {grid}: the sequence is "
            r"truncated, or of another grid\.$"
        )
        with pytest.raises(ValueError, match=sentence):
            layout.tokens(ids[:length], grid)
        with pytest.raises(ValueError, match=r"^ids |^The layout .* needs a grid"):
            layout.tokens(ids[:length])
    with pytest.raises(
        ValueError, match=rf"^ids are {len(ids) + 1}, but the layout {case.name} has {len(ids)} for a grid"
    ):
        layout.tokens(torch.cat([ids, ids[-1:]]), grid)


@every
def test_ids_contradict_another_grid(case):
    layout = case.layout()
    grids = [Grid(*grid) for grid in case.grids]
    for grid, other in zip(grids, grids[1:] + grids[:1], strict=True):
        with pytest.raises(ValueError, match="^ids "):
            layout.tokens(layout.ids(draw(case, grid), grid), other)


@every
def test_a_layout_is_pickled(case):
    layout, grid = case.layout(), Grid(*case.grids[1])
    tokens = draw(case, grid)
    layout.slots(grid)
    again = pickle.loads(pickle.dumps(layout))
    assert torch.equal(again.ids(tokens, grid), layout.ids(tokens, grid))


def test_digits_are_those_of_the_quantizer():
    quantizer = FSQConfig(levels=[8, 5, 3]).build()
    tokens = torch.arange(120).reshape(1, 1, 10, 12)
    case = CASES["digits, bare"]
    digits = case.layout().ids(tokens) - case.vocabulary["image"].offsets[0]
    codes = (digits.reshape(1, 10, 12, 3).movedim(-1, 1) - quantizer.levels // 2).float() / quantizer.divisor
    assert torch.equal(codes, quantizer.lookup(tokens))


def test_scales_are_those_of_the_quantizer():
    inner = {"name": "vq", "codebook_size": 30, "dim": 4}
    quantizer = MultiscaleConfig(quantizer=inner, scales=[1, 2, 3]).build().eval()
    for y, x in ((3, 3), (6, 3), (3, 5)):
        tokens = quantizer(torch.randn(2, 4, y, x)).tokens
        layout = CASES["scales"].layout()
        ids = layout.ids(tokens)
        assert layout.read_grid(ids[0]) == (y, x) and torch.equal(layout.tokens(ids), tokens)


def test_more_grids_than_are_kept(monkeypatch):
    monkeypatch.setattr(base, "MAX_PLANS", 20)
    layout = CASES["lumina"].layout()
    for y in range(1, 9):
        for x in range(1, 9):
            assert layout.length(Grid(y, x)) == y * (x + 1) + 2
    assert len(layout._plans) <= 20


class CountedOperations(TorchFunctionMode):
    count = 0

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        self.count += 1
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("name", ["raster", "emu3", "delayed", "glm", "scales"])
def test_a_batch_takes_a_few_operations_whatever_its_size(name):
    layout, grid = CASES[name].layout(), Grid(*CASES[name].grids[-1])
    counts = set()
    for batch in (1, 64):
        tokens = draw(CASES[name], grid, batch=(batch,))
        layout.tokens(layout.ids(tokens, grid), grid)
        with CountedOperations() as counted:
            layout.tokens(layout.ids(tokens, grid), grid)
        counts.add(counted.count)
    assert len(counts) == 1 and max(counts) < 40
