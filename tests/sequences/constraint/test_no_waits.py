"""With known grids the host does not wait for a GPU between steps, and memory is that of the scores."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from host_syncs import HostSyncs, no_host_syncs
from small_layouts import WORDS, small_cases, small_vocabulary
from vistok.sequences.constraint import Guidance, ImageConstraint, PairedDraw, draw, filter_logits
from vistok.sequences.layouts import build_layout

LAYOUT = small_cases()["emu3"].layout
GRIDS = [(2, 3), (4, 2)]
FIXED = {
    "one grid from a start": {"grid": GRIDS[0], "start": 2},
    "grids from a start": {"grid": GRIDS, "start": 2},
    "grids from starts": {"grid": GRIDS, "start": [2, 2], "then": "text"},
    "where the model begins": {"grid": GRIDS, "then": "text"},
    "then the end": {"grid": GRIDS[0]},
}


def rows(length, device="cpu"):
    image = LAYOUT.slots(GRIDS[0]).first
    words = torch.randint(WORDS.start, WORDS.stop, (4, 2))
    return torch.cat([words, image.expand(4, -1)], dim=1)[:, :length].to(device)


def steps(constraint, device="cpu"):
    """Return a function that goes on with ids, after the prompt has been checked."""
    scores = torch.randn(4, LAYOUT.vocabulary.size, device=device)
    every = [rows(length, device) for length in range(2, 14)]
    constraint(every[0][:, :2], scores)
    guidance = Guidance(3.0)

    def run():
        for ids in every[1:]:
            kept = guidance(ids, constraint(ids, scores))
            draw(filter_logits(kept, 0.9, top_k=5, top_p=0.9))
            PairedDraw()(ids, kept)

    return run


@pytest.mark.parametrize("options", FIXED.values(), ids=FIXED)
def test_no_operator_needs_a_value_on_the_host(options):
    run = steps(ImageConstraint(LAYOUT, **options))
    with HostSyncs() as syncs:
        run()
    assert not syncs.found


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("options", FIXED.values(), ids=FIXED)
def test_no_wait_on_a_gpu(options):
    run = steps(ImageConstraint(LAYOUT, **options), "cuda")
    with no_host_syncs():
        run()


class Sizes(TorchDispatchMode):
    """Keeps the bytes of the largest result of an operator."""

    largest = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel() * result.element_size())
        return result


@pytest.mark.parametrize("how", [{"grid": (8, 8)}, {"choices": [(8, 8), (8, 9)]}, {"max_grid": (12, 12)}])
def test_no_result_is_larger_than_the_scores(how):
    """260,000 ids, at a position of the header, of the codes, and in text."""
    layout = build_layout("emu3", small_vocabulary(size=260_000))
    constraint = ImageConstraint(layout, then="text", **how)
    image = layout.slots((8, 8)).first.expand(2, -1)
    scores = torch.zeros(2, layout.vocabulary.size)
    for length in (1, 2, 20, image.shape[1]):
        with Sizes() as sizes:
            constraint(image[:, :length], scores)
        assert sizes.largest <= 4 * (scores.numel() + 2)
