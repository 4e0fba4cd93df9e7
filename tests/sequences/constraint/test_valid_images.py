"""A model that knows nothing, with random logits, writes valid images only: in every layout, of the right grid."""

import pytest
import torch

from small_layouts import BOS, EOS, GRIDS, PAD, STRUCTURE, TEXT, WORDS, small_cases, small_vocabulary
from vistok.sequences.constraint import ImageConstraint, draw
from vistok.sequences.layouts import LAYOUTS, Grid, Layout, Slots

CASES = small_cases()
NAMES = list(CASES)
WRITTEN = [name for name, case in CASES.items() if case.writes_grid]
BEGUN = [name for name, case in CASES.items() if case.has_begin]
PADDED_HEAD = 9
"""Rows of a model's head behind the vocabulary."""


def prompt(rows, length=3):
    return torch.randint(WORDS.start, WORDS.stop, (rows, length))


def written(constraint, ids, steps):
    size = constraint.layout.vocabulary.size + PADDED_HEAD
    for _ in range(steps):
        logits = torch.randn(len(ids), size)
        ids = torch.cat([ids, draw(constraint(ids, logits))[:, None]], dim=1)
    return ids


def check_tail(ids):
    assert ids[0] == EOS and (ids[1:] == PAD).all()


def test_every_layout_of_the_table_is_tried():
    assert {case.layout.name for case in CASES.values()} == set(LAYOUTS) == {name.split()[0] for name in CASES}


@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_a_known_grid_from_a_known_start(name):
    torch.manual_seed(0)
    layout = CASES[name].layout
    for grid in CASES[name].grids:
        length = layout.length(grid)
        ids = written(ImageConstraint(layout, grid, start=3), prompt(2), length + 2)
        tokens = layout.tokens(ids[:, 3 : 3 + length], grid)
        assert torch.equal(layout.ids(tokens, grid), ids[:, 3 : 3 + length])
        check_tail(ids[0, 3 + length :])


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("how", ["choices", "max_grid"])
def test_an_image_whose_grid_the_model_writes(name, how):
    torch.manual_seed(0)
    layout, choices = CASES[name].layout, CASES[name].grids
    constraint = ImageConstraint(layout, start=3, **{how: choices if how == "choices" else (11, 4)})
    longest = max(layout.length(grid) for grid in constraint.grids.grids)
    grids = set()
    for row in written(constraint, prompt(16), longest + 2):
        grid = layout.read_grid(row[3:])
        length = layout.length(grid)
        tokens = layout.tokens(row[3 : 3 + length])
        assert torch.equal(layout.ids(tokens, grid), row[3 : 3 + length])
        assert grid in choices if how == "choices" else grid.y <= 11 and grid.x <= 4
        check_tail(row[3 + length :])
        grids.add(grid)
    assert len(grids) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_different_grids_starts_and_several_rows_a_prompt(name):
    torch.manual_seed(0)
    layout, grids = CASES[name].layout, CASES[name].grids
    starts = [3, 1, 2, 4]
    constraint = ImageConstraint(layout, grids, start=starts)
    begun = [
        torch.cat([prompt(1, start)[0], layout.slots(grid).first]) for grid, start in zip(grids, starts, strict=True)
    ]
    rows = [row[:5] for row in begun]  # of 2, 4, 3 and 1 ids of an image
    ids = written(constraint, torch.stack(rows).repeat_interleave(2, 0), max(map(layout.length, grids)) + 3)
    for index, row in enumerate(ids):
        start, grid = starts[index // 2], grids[index // 2]
        layout.tokens(row[start : start + layout.length(grid)], grid)
        check_tail(row[start + layout.length(grid) :])


def parsed(layout, row, begin, grid):
    """Return the images of a row and the text around them, read from left to right."""
    images, text, position = [], [], 0
    while position < len(row):
        if row[position] != begin:
            text.append(int(row[position]))
            position += 1
            continue
        rest = row[position:]
        try:
            length = layout.length(grid or layout.read_grid(rest))
        except ValueError:
            break  # the last image is not whole
        if length > len(rest):
            break
        images.append(layout.tokens(rest[:length], grid))
        position += length
    return images, text


@pytest.mark.parametrize("name", BEGUN)
@pytest.mark.parametrize("grid", [(2, 3), None], ids=["known", "written"])
def test_text_and_images_in_turn(name, grid):
    """The model begins images itself, and text never holds a code or another structure id."""
    torch.manual_seed(0)
    layout, _, writes_grid, _ = CASES[name]
    if grid is None and not writes_grid:
        pytest.skip("this layout does not write the grid")
    constraint = ImageConstraint(layout, grid, max_grid=None if grid else (2, 3), then="text")
    begin = constraint.marks.begin
    count = 0
    for row in written(constraint, prompt(3), 300):
        images, text = parsed(layout, row, begin, grid)
        count += len(images)
        assert max(text) < TEXT and PAD not in text and not set(text) & set(STRUCTURE.values())
    assert count > 3


@pytest.mark.parametrize("name", BEGUN)
def test_a_prompt_with_a_whole_image_and_one_that_ends_inside_another(name):
    """At every position where a prompt may end, in a batch with left padding."""
    torch.manual_seed(0)
    layout, grid = CASES[name].layout, GRIDS[1]
    length = layout.length(grid)
    vocab = layout.image.size
    whole = layout.slots(grid).first.clone()
    codes = layout.slots(grid).size > 1
    whole[codes] += torch.randint(2, (int(codes.sum()),)).clamp(max=vocab - 1)
    sequence = torch.cat([torch.tensor([BOS, 4]), whole, torch.tensor([5, 6]), whole])
    cuts = range(length + 4, len(sequence) + 1)
    ids = torch.stack([torch.cat([torch.full((len(sequence) - cut,), PAD), sequence[:cut]]) for cut in cuts])
    done = written(ImageConstraint(layout, grid, then="text"), ids, length)
    for row, cut in zip(done, cuts, strict=True):
        row = row[len(sequence) - cut :]
        if cut > length + 4:  # the second image is begun
            second = row[length + 4 : 2 * length + 4]
            layout.tokens(second, grid)
            assert torch.equal(second[: cut - length - 4], whole[: cut - length - 4])


class Numbered(Layout):
    """A layout from outside: rows and columns as an id each, then codes, without begin and end."""

    def __init__(self):
        super().__init__("numbered", small_vocabulary())

    def plan(self, grid):
        numbers = torch.tensor([10 + grid.y, 10 + grid.x])
        codes = torch.arange(grid.y * grid.x)
        first = torch.cat([numbers, torch.full_like(codes, TEXT)])
        return Slots(first, torch.cat([numbers * 0 + 1, codes * 0 + 7]), torch.cat([numbers * 0 - 1, codes]))

    def read_grid(self, ids):
        return Grid(*(ids[:2] - 10).tolist())


def test_a_layout_from_outside():
    torch.manual_seed(0)
    layout = Numbered()
    for allowed in ({"grid": [(2, 3), (3, 1)]}, {"choices": [(2, 3), (3, 1)]}, {"max_grid": (3, 3)}):
        for row in written(ImageConstraint(layout, start=3, **allowed), prompt(8), 13):
            length = layout.length(layout.read_grid(row[3:]))
            layout.tokens(row[3 : 3 + length])
            check_tail(row[3 + length :])
    with pytest.raises(ValueError, match="has no id that begins an image"):
        ImageConstraint(layout, choices=[(2, 3), (3, 1)])


def test_padding_that_is_a_word_is_not_text():
    constraint = ImageConstraint(CASES["emu3"].layout, (2, 3), pad=8)
    assert constraint.allowed(torch.tensor([[5]]), 57)[0, 7:10].tolist() == [True, False, True]
    constraint = ImageConstraint(CASES["emu3"].layout, (2, 3), pad=EOS)
    assert constraint.allowed(torch.tensor([[5]]), 57)[0, EOS]


def test_the_first_id_of_all_may_begin_the_image():
    """As where a model is given embeddings in place of a prompt."""
    torch.manual_seed(0)
    layout = CASES["emu3"].layout
    ids = written(ImageConstraint(layout, [(2, 3), (3, 2)], start=0), torch.zeros(2, 0, dtype=torch.int64), 16)
    assert [layout.read_grid(row) for row in ids] == [(2, 3), (3, 2)]


def test_after_an_image_comes_what_was_asked_for():
    torch.manual_seed(0)
    layout = CASES["emu3"].layout
    length = layout.length(GRIDS[0])
    for then, tail in (("eos", [EOS, PAD, PAD]), ("pad", [PAD] * 3), (None, [EOS, PAD, PAD])):
        for start in (3, [3, 3]):
            constraint = ImageConstraint(layout, GRIDS[0], start=start, then=then)
            assert written(constraint, prompt(2), length + 3)[:, -3:].tolist() == [tail] * 2
    other = ImageConstraint(layout, GRIDS[0], start=3, eos=8, pad=9)
    assert written(other, prompt(2), length + 3)[:, -3:].tolist() == [[8, 9, 9]] * 2


def test_a_model_of_images_alone_ends_with_the_last_id_of_the_image_again():
    from vistok.sequences.layouts import build_layout
    from vistok.sequences.vocabulary import image_vocabulary

    layout = build_layout("chameleon", image_vocabulary(6, roles=["begin", "end"]))
    ids = written(ImageConstraint(layout, (1, 2), start=1), torch.zeros(2, 1, dtype=torch.int64), 6)
    layout.tokens(ids[:, 1:5], (1, 2))
    assert (ids[:, 4:] == 7).all()
