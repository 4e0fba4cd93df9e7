"""Classifier-free guidance is its formula, makes no NaN of forbidden ids, and may come before or after the constraint."""

from itertools import permutations
from math import inf

import numpy as np
import pytest
import torch

from small_layouts import small_cases
from vistok.sequences.constraint import Guidance, ImageConstraint, guided

LAYOUT = small_cases()["emu3"].layout
SIZE = LAYOUT.vocabulary.size


def by_hand(conditional, unconditional, scale):
    """p proportional to p_u (p_c / p_u) ** scale, in float64."""
    c, u = conditional.double().softmax(-1), unconditional.double().softmax(-1)
    weights = u * (c / u) ** scale
    return weights / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.5, 7.5])
def test_it_is_the_formula(scale):
    torch.manual_seed(0)
    conditional, unconditional = torch.randn(2, 3, 20) * 3
    result = guided(conditional, unconditional, scale)
    assert torch.allclose(result.double().exp(), by_hand(conditional, unconditional, scale), atol=1e-6)
    assert torch.allclose(result.exp().sum(-1), torch.ones(3), atol=1e-5)
    moved = guided(conditional + torch.randn(3, 1), unconditional - 5, scale)  # logits are only known up to a constant
    assert torch.allclose(moved, result, atol=1e-5)


def test_it_is_what_transformers_computes_up_to_a_constant():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    conditional, unconditional = torch.randn(2, 3, 20) * 3

    class Model:
        def __call__(self, input_ids, **_options):
            return transformers.modeling_outputs.CausalLMOutput(logits=unconditional[:, None])

    theirs = transformers.UnbatchedClassifierFreeGuidanceLogitsProcessor(2.5, Model())(torch.zeros(3, 4), conditional)
    ours = Guidance(2.5, lambda _ids: unconditional)(torch.zeros(3, 4, dtype=torch.int64), conditional)
    assert torch.allclose(ours, theirs.log_softmax(-1), atol=1e-5)


def test_with_a_scale_of_1_nothing_changes():
    scores = torch.randn(4, 9, dtype=torch.bfloat16)
    scores[0, 3] = -inf
    ids = torch.zeros(4, 2, dtype=torch.int64)
    assert Guidance(1, lambda _ids: pytest.fail("not asked"))(ids, scores) is scores
    halves = Guidance(1)(ids, scores)
    assert halves.dtype == scores.dtype and torch.equal(halves, torch.cat([scores[:2], scores[:2]]))


def test_halves_get_what_a_callable_gives():
    scores = torch.randn(6, 9)
    ids = torch.zeros(6, 2, dtype=torch.int64)
    halves = Guidance(3.0)(ids, scores)
    single = Guidance(3.0, lambda given: scores[3:] if torch.equal(given, ids[:3]) else None)(ids[:3], scores[:3])
    assert torch.equal(halves, torch.cat([single, single]))


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_forbidden_ids_make_no_nan(scale):
    c = torch.tensor([[0.0, 1.0, -inf, -inf, 2.0]])
    u = torch.tensor([[1.0, -inf, 0.0, -inf, 1.0]])
    result = guided(c, u, scale)
    assert result.isneginf().tolist() == [[False, False, True, True, False]]
    assert not result.isnan().any() and not result.isposinf().any()
    assert result.exp().sum().item() == pytest.approx(1)
    both = torch.tensor([[True, False, False, False, True]])  # ids that both allow have the ratio of the formula
    wanted = by_hand(c[both], u[both], scale)
    assert torch.allclose((result[both].double().softmax(-1)), wanted, atol=1e-6)


def test_a_row_that_forbids_all_ids_stays_so():
    row, none = torch.randn(1, 5), torch.full((1, 5), -inf)
    assert torch.equal(guided(none, row, 3.0), none)  # a beam that is given up
    assert torch.allclose(guided(row, none, 3.0), row.log_softmax(-1), atol=1e-6)


@pytest.mark.parametrize("unconditional", ["rows", "callable"])
def test_before_the_constraint_or_after_it_the_probabilities_are_the_same(unconditional):
    torch.manual_seed(0)
    grid = (2, 3)
    image = LAYOUT.slots(grid).first
    for length in range(len(image) + 2):
        ids = torch.cat([torch.full((4, 1), 5), image.expand(4, -1), torch.full((4, 1), 1)], dim=1)[:, : length + 1]
        scores = torch.randn(4, SIZE) * 3
        other = torch.randn(4, SIZE)
        guidance = Guidance(4.0, None if unconditional == "rows" else lambda _ids, other=other: other)
        results = []
        for processors in permutations([guidance, ImageConstraint(LAYOUT, grid, start=1)]):
            result = scores
            for processor in processors:
                result = processor(ids, result)
            results.append(result.softmax(-1))
            assert not results[-1].isnan().any()
        assert torch.allclose(*results, atol=1e-6)
        assert torch.equal(results[0] > 0, results[1] > 0)


@pytest.mark.parametrize("scale", [-1.0, inf, float("nan"), "3", None, True])
def test_a_scale_that_is_none(scale):
    with pytest.raises(
        ValueError, match=r"^The guidance scale is .*, but must be a number from 0 up; 1 is without guidance\.$"
    ):
        Guidance(scale)


@pytest.mark.parametrize("scale", [0, 3, 1.5, np.float32(2), np.int64(2)])
def test_any_real_number_is_a_scale(scale):
    assert Guidance(scale).scale == scale


def test_rows_that_are_no_pairs():
    sentence = (
        r"^The scores have 3 rows, but must have an unconditional row for each conditional one: give both prompts, or a"
    )
    with pytest.raises(ValueError, match=sentence):
        Guidance(2.0)(torch.zeros(3, 1, dtype=torch.int64), torch.zeros(3, 5))


def test_unconditional_logits_of_another_shape():
    sentence = r"^The unconditional logits have the shape \(1, 5\), but must have that of the scores, \(3, 5\)\.$"
    with pytest.raises(ValueError, match=sentence):
        Guidance(2.0, lambda _ids: torch.zeros(1, 5))(torch.zeros(3, 1, dtype=torch.int64), torch.zeros(3, 5))
