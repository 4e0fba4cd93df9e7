"""The ids that are allowed are exactly those with which a valid sequence can go on, found here by walking from the left."""

from contextlib import suppress
from math import inf

import pytest
import torch

from small_layouts import EOS, GRIDS, PAD, STRUCTURE, TEXT, WORDS, small_cases, small_vocabulary
from vistok.sequences.constraint import ImageConstraint, allow_range, draw
from vistok.sequences.layouts import Grid, build_layout

CASES = small_cases()
FEW = GRIDS[:3]
STEPS, HEAD = 45, 3


def images_by_hand(layout, grids):
    """Return for each grid the set of ids at each position of its images, from the ids of many images."""
    torch.manual_seed(1)
    sets = {}
    for grid in grids:
        slots = layout.slots(grid)
        symbols = int((slots.source >= 0).sum())
        limits = slots.size[slots.source >= 0][slots.source[slots.source >= 0].argsort()]
        ids = [
            layout.ids(layout.content.tokens(torch.full((symbols,), k).minimum(limits - 1), grid), grid)
            for k in range(7)
        ]
        sets[grid] = [set(column) for column in torch.stack(ids).T.tolist()]
    return sets


def next_by_hand(row, images, then, start):
    """Walk through a row: text until an image begins, an image until one of the grids is whole, and so on."""
    first = {next(iter(sets[0])) for sets in images.values()}
    text = {number for number in range(TEXT) if number != PAD and number not in STRUCTURE.values()}
    begins = first if len(first) == 1 and all(len(sets[0]) == 1 for sets in images.values()) else set()
    position, offset, open_images = start or 0, 0, list(images.values()) if start is not None else None
    after = False
    while position < len(row):
        number = row[position]
        position += 1
        if open_images is None:
            if number in begins:
                open_images, offset = list(images.values()), 0
            else:
                after = after and number in (EOS, PAD)
                continue
        open_images = [sets for sets in open_images if number in sets[offset]]
        offset += 1
        if any(len(sets) == offset for sets in open_images):
            open_images, after = None, True
    if open_images is not None:
        return set().union(*(sets[offset] for sets in open_images))
    if then == "text" or not after:
        return text | begins
    return {EOS} if then == "eos" and row[-1] not in (EOS, PAD) else {PAD}


def writable(layout, rows, columns):
    for y in range(1, rows + 1):
        for x in range(1, columns + 1):
            with suppress(ValueError):  # scales has as many tokens for 1 x 3 as for 2 x 2
                layout.length(Grid(y, x))
                yield Grid(y, x)


TRIED = [
    ("grid", {"start": 2, "then": "eos"}),
    ("grid", {"start": 2, "then": "pad"}),
    ("grid", {"start": 2, "then": "text"}),
    ("grid", {"then": "text"}),
    ("grid", {"then": "eos"}),
    ("choices", {"start": 2, "then": "eos"}),
    ("choices", {"then": "text"}),
    ("max_grid", {"then": "pad"}),
]


@pytest.mark.parametrize("name", CASES)
def test_exactly_what_can_go_on_is_allowed(name):
    torch.manual_seed(0)
    layout, has_begin, writes_grid, grids = CASES[name]
    size = layout.vocabulary.size + HEAD
    allowed = {"grid": grids[1], "choices": grids[:3], "max_grid": grids[1]}
    all_of = {"grid": grids[1:2], "choices": grids[:3], "max_grid": [*writable(layout, *grids[1])]}
    for how, options in TRIED:
        if ("start" not in options and not has_begin) or (how != "grid" and not writes_grid):
            continue
        constraint = ImageConstraint(layout, **{how: allowed[how]}, **options)
        images = images_by_hand(layout, all_of[how])
        ids = torch.randint(WORDS.start, WORDS.stop, (3, 2))
        for step in range(STEPS):
            scores = torch.randn(3, size)
            kept = constraint(ids, scores)
            for row, was, now in zip(ids.tolist(), scores, kept, strict=True):
                by_hand = next_by_hand(row, images, options["then"], options.get("start"))
                assert {index for index, score in enumerate(now.tolist()) if score > -inf} == by_hand, (step, row)
                chosen = list(by_hand)
                assert torch.equal(now[chosen], was[chosen])
            drawn, begin = draw(kept), constraint.marks.begin
            if step == 2 and begin is not None:  # so that all rows have an image soon
                drawn[kept[:, begin] > -inf] = begin
            ids = torch.cat([ids, drawn[:, None]], dim=1)


def test_state_follows_from_the_ids_whatever_order_calls_come_in():
    """Rows are shuffled, repeated, dropped, and lengths come in any order, with one object."""
    torch.manual_seed(0)
    layout = CASES["emu3"].layout
    for allowed in ({"grid": FEW[1]}, {"choices": FEW}):
        ids = torch.randint(WORDS.start, WORDS.stop, (4, 2))
        constraint = ImageConstraint(layout, then="text", **allowed)
        masks = []
        for _ in range(40):
            masks.append(constraint.allowed(ids, layout.vocabulary.size).expand(4, -1))
            ids = torch.cat([ids, draw(constraint(ids, torch.randn(4, layout.vocabulary.size)))[:, None]], dim=1)
        for step in torch.randperm(40).tolist():
            rows = torch.randint(4, (int(torch.randint(1, 6, ())),))
            assert torch.equal(
                constraint.allowed(ids[rows, : step + 2], layout.vocabulary.size).expand(len(rows), -1),
                masks[step][rows],
            )


def test_a_vocabulary_whose_codes_come_before_text_and_leave_ids_unused():
    """As in Chameleon: codes are in the middle, and some ids below the vocabulary's end are nobody's."""
    from vistok.sequences.modality import Modality
    from vistok.sequences.vocabulary import Vocabulary

    text = Modality("text", (10,), 5, {"end": 1})
    image = Modality("image", (4,), 3, {"begin": 8, "end": 9})
    layout = build_layout("chameleon", Vocabulary((text, image), unused=((0, 1), (2, 4), (7, 8))))
    constraint = ImageConstraint(layout, (1, 1))
    allowed = [
        constraint.allowed(torch.tensor([ids]), 16)[0].nonzero()[:, 0].tolist()
        for ids in ([11], [11, 8], [8, 5], [8, 5, 9])
    ]
    assert allowed == [[1, 8, 10, 11, 12, 13, 14], [4, 5, 6], [9], [1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_row_whose_allowed_ids_all_have_minus_infinity_can_still_be_drawn_from(dtype):
    layout = CASES["emu3"].layout
    constraint = ImageConstraint(layout, FEW[1], start=1)
    ids = torch.tensor([[3, *layout.slots(FEW[1]).first[:5].tolist()]] * 2)
    scores = torch.randn(2, layout.vocabulary.size).to(dtype)
    scores[0, TEXT:] = -inf
    scores[1, TEXT] = -inf
    kept = constraint(ids, scores)
    assert kept.dtype == dtype
    assert kept.softmax(-1)[0, TEXT:].float().tolist() == pytest.approx([1 / 7] * 7, rel=1e-2)
    assert kept[:, :TEXT].isneginf().all() and torch.equal(kept[1, TEXT + 1 :], scores[1, TEXT + 1 :])
    assert kept.softmax(-1)[1, TEXT] == 0


def test_a_slot_for_ones_own_loop():
    layout = build_layout("emu3", small_vocabulary())
    logits = torch.randn(2, layout.vocabulary.size)
    for first, size, _ in zip(*layout.slots(Grid(2, 3)), strict=True):
        kept = allow_range(logits, int(first), int(size))
        assert torch.equal(
            kept > -inf, (torch.arange(57) >= first) & (torch.arange(57) < first + size) & (logits > -inf)
        )
        assert torch.equal(kept[:, first : first + size], logits[:, first : first + size])
