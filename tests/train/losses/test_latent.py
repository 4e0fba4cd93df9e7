"""The distance in the latent of a frozen tokenizer."""

import numpy as np
import pytest
import torch

from runs import config
from samples import small_tokenizer
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.train.losses.criteria import CRITERIA
from vistok.train.run import Run


@pytest.fixture
def criterion(tokenizer_folder):
    return CRITERIA["latent"](tokenizer=str(tokenizer_folder)).build().requires_grad_(False).eval()


def two_batches():
    generator = torch.Generator().manual_seed(0)
    return (torch.rand((2, 3, 64, 96), generator=generator) * 2 - 1 for _ in range(2))


def test_it_is_the_relative_squared_error_of_the_latents_and_a_mean_over_images(criterion, tokenizer_folder):
    images, others = two_batches()
    model = load_tokenizer(tokenizer_folder).model
    with torch.no_grad():
        ours, theirs = (model.encode_latent(pixels).double().numpy() for pixels in (images, others))
    expected = np.mean([np.sum((a - b) ** 2) / np.sum(a**2) for a, b in zip(ours, theirs, strict=True)])
    assert float(criterion.terms(images, others)["latent"]) == pytest.approx(expected, rel=1e-4)
    assert float(criterion.terms(images, images)["latent"]) == 0


def test_what_run_compile_compiles_is_what_computes_the_latent(criterion):
    """It compiles the children of a criterion, by their forward."""
    images, others = two_batches()
    (child,) = criterion.children()
    seen = []
    child.register_forward_hook(lambda module, given, latent: seen.append(given[0]))
    criterion.terms(images, others)
    assert len(seen) == 2 and seen[0] is images and seen[1] is others


def test_gradients_reach_the_reconstruction_alone_and_bring_the_tokens_back(criterion, tokenizer_folder):
    images, painted = two_batches()
    images.requires_grad_()
    model = load_tokenizer(tokenizer_folder).model.eval()
    painted = painted.requires_grad_()
    optimizer = torch.optim.Adam([painted], lr=0.05)
    wanted = model.encode(images.detach())
    before = (model.encode(painted.detach()) == wanted).double().mean()
    for _ in range(60):
        optimizer.zero_grad()
        criterion.terms(images, painted)["latent"].backward()
        optimizer.step()
    after = (model.encode(painted.detach()) == wanted).double().mean()
    assert images.grad is None and after > before + 0.3
    assert not list(criterion.parameters()) and not criterion.state_dict()


def test_a_run_trains_with_it(tmp_path, tokenizer_folder):
    run = Run(config(tmp_path, "losses.latent=0.5", f"criteria.latent.tokenizer={tokenizer_folder}"))
    (criterion,) = run.criteria
    frozen = criterion.encoder.frozen.network
    assert not frozen.training and not any(value.requires_grad for value in frozen.parameters())
    assert small_tokenizer().state_dict().keys() == frozen.state_dict().keys()
    assert not any("frozen" in name for name in run.model.state_dict())


def test_a_name_of_no_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        CRITERIA["latent"](tokenizer=str(tmp_path / "nowhere")).build()
