"""Temperature, top-k and top-p are those of transformers, and draws have the probabilities of the logits."""

from math import inf

import pytest
import torch

from vistok.sequences.constraint import PairedDraw, draw, filter_logits

OPTIONS = [(0.5, 0, 1.0), (2.0, 3, 1.0), (1.0, 0, 0.8), (0.7, 6, 0.6), (1.0, 1, 1.0), (1.0, 0, 1e-6), (1.0, 99, 1.0)]


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), OPTIONS)
def test_filters_are_the_warpers_of_transformers(temperature, top_k, top_p):
    transformers = pytest.importorskip("transformers")
    logits = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)) * 2
    logits[:, 3] = -inf
    warpers = [transformers.TemperatureLogitsWarper(temperature)]
    if top_k:
        warpers.append(transformers.TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(transformers.TopPLogitsWarper(top_p))
    theirs = logits
    for warper in warpers:
        theirs = warper(None, theirs)
    assert torch.equal(filter_logits(logits, temperature, top_k, top_p), theirs)


def test_draws_have_the_probabilities_of_the_logits():
    logits = torch.tensor([0.0, 1.0, 2.0, -inf, 0.5])
    drawn = draw(logits.expand(40_000, -1), torch.Generator().manual_seed(0))
    assert torch.allclose(drawn.bincount(minlength=5) / 40_000, logits.softmax(-1), atol=0.01)
    again = draw(logits.expand(40_000, -1), torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_a_draw_never_takes_what_is_forbidden():
    logits = torch.full((20_000, 3), -inf)
    logits[:, 1] = -1e4
    assert (draw(logits) == 1).all()


def test_both_rows_of_a_pair_get_the_id_that_the_first_was_to_have():
    scores = torch.randn(6, 9)
    kept = PairedDraw(1.5, 4, 0.9, torch.Generator().manual_seed(3))(None, scores)
    wanted = draw(filter_logits(scores[:3], 1.5, 4, 0.9), torch.Generator().manual_seed(3))
    assert torch.equal(kept.argmax(-1), torch.cat([wanted, wanted]))
    assert (kept > -inf).sum(-1).tolist() == [1] * 6


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"temperature": 0.0}, r"^temperature is 0\.0, but must be above 0: for the most likely ids, give top_k=1\.$"),
        ({"top_k": -1}, r"^top_k is -1, but must be a whole number from 0 on; 0 keeps all ids\.$"),
        ({"top_k": 1.5}, r"^top_k is 1.5, but must be a whole number from 0 on; 0 keeps all ids\.$"),
        ({"top_p": 0.0}, r"^top_p is 0\.0, but must be above 0 and at most 1, which keeps all ids\.$"),
        ({"top_p": 1.5}, r"^top_p is 1\.5, but must be"),
    ],
)
def test_options_that_are_none(options, sentence):
    for call in (lambda: filter_logits(torch.zeros(1, 3), **options), lambda: PairedDraw(**options)):
        with pytest.raises(ValueError, match=sentence):
            call()
