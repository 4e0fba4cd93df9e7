import pytest
import torch

from vistok.tokenizer.model import Reconstruction
from vistok.tokenizer.quantizers import QUANTIZERS, build_quantizer
from vistok.train.losses.terms import charbonnier, check_loss_names, loss_terms, quantizer_weights, weigh


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


def test_charbonnier_is_absolute_error_with_a_smooth_bottom():
    pixels, reconstruction = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    difference = (pixels - reconstruction).double()
    expected = ((difference**2 + 1e-6) ** 0.5).mean() - 1e-3
    assert float(charbonnier(pixels, reconstruction)) == pytest.approx(float(expected), rel=1e-5)
    assert float(charbonnier(pixels, pixels)) == pytest.approx(0, abs=1e-8)
    same = pixels.clone().requires_grad_()
    charbonnier(pixels, same).backward()
    assert not same.grad.any()


@pytest.mark.parametrize("name", QUANTIZERS)
def test_usual_weights_cover_every_loss_of_every_quantizer(name):
    inner = {"name": "vq", "dim": 4, "codebook_size": 8}
    values = {
        "fsq": {"levels": [5, 5]},
        "fsp": {"levels": [5, 5]},
        "lfq": {"dim": 4},
        "bsq": {"dim": 4},
        "leech": {},
        "fvq": {"dim": 4, "codebook_size": 8, "patch": 4},
        "residual": {"depth": 2, "quantizer": inner},
        "grouped": {"groups": 2, "quantizer": inner},
        "multiscale": {"scales": [1, 2], "quantizer": inner},
    }.get(name, {"dim": 4, "codebook_size": 8})
    quantizer = build_quantizer({"name": name, **values}).train()
    weights = quantizer_weights(quantizer, commitment=0.5)
    assert weights.get("commitment", 0.5) == 0.5
    check_loss_names({"l2": 1.0, **weights}, quantizer.loss_names, {})
    if weights:
        with pytest.raises(ValueError, match="no weight: set losses."):
            check_loss_names({"l2": 1.0}, quantizer.loss_names, {})


@pytest.mark.parametrize("weights", [{}, {"l2": 0.0, "perceptual": 0.0}])
def test_a_run_without_a_weight_above_0_is_refused_before_its_first_step(weights):
    with pytest.raises(ValueError, match="losses has no term with a weight above 0: give one to l1 or l2"):
        check_loss_names(weights, (), {})


def test_what_weighs_nothing_needs_no_network():
    check_loss_names({"l2": 1.0, "perceptual": 0.0, "adversarial": 0.0}, (), {})
    assert float(weigh({"l2": torch.tensor(3.0)}, {"l2": 1.0, "perceptual": 0.0})) == 3.0
