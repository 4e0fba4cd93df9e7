import pytest
import torch

from vistok.tokenizer.model import Reconstruction
from vistok.train.losses import loss_terms, weigh


def output(**losses):
    empty = torch.zeros(1, 1, 1, 1)
    pixels = torch.full((1, 3, 2, 2), 0.5)
    terms = {name: torch.tensor(value) for name, value in losses.items()}
    return Reconstruction(pixels, empty, empty, empty.long(), terms)


def test_terms_are_the_weighted_reconstruction_losses_and_the_quantizers():
    terms = loss_terms(torch.zeros(1, 3, 2, 2), output(commitment=2.0), {"l1": 1.0, "l2": 1.0, "commitment": 0.5})
    assert {name: float(value) for name, value in terms.items()} == {"l1": 0.5, "l2": 0.25, "commitment": 2.0}
    assert float(weigh(terms, {"l1": 1.0, "l2": 4.0, "commitment": 0.5})) == 2.5


def test_a_weight_of_zero_leaves_the_term_out_but_in_the_log():
    assert float(weigh({"l2": torch.tensor(3.0), "x": torch.tensor(float("nan"))}, {"l2": 1.0, "x": 0.0})) == 3.0


def test_weights_and_terms_must_match():
    with pytest.raises(ValueError, match="losses.commitment has no weight: set losses.commitment"):
        weigh({"l2": torch.tensor(1.0), "commitment": torch.tensor(1.0)}, {"l2": 1.0})
    with pytest.raises(ValueError, match="losses.comitment has a weight, but this model has no such term"):
        weigh({"l2": torch.tensor(1.0)}, {"l2": 1.0, "comitment": 1.0})
    with pytest.raises(ValueError, match="losses has no term with a weight above 0"):
        weigh({"l2": torch.tensor(1.0)}, {"l2": 0.0})
