import math

import timm
import torch
from torch import distributed
from torch.nn.attention import SDPBackend, sdpa_kernel

from ranks import on_two_ranks
from vistok.perception.backbones import Backbone
from vistok.train.losses.discriminators import BackboneDiscriminator, PatchDiscriminatorConfig
from vistok.train.losses.penalties import LeCam, r1_penalty


def logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(seed))


def test_lecam_is_its_definition():
    """Of a first step, whose averages are its own means."""
    real, fake = logits(1).requires_grad_(), logits(2)
    average_real, average_fake = float(real.detach().mean()), float(fake.mean())
    expected = sum(max(0, value - average_fake) ** 2 for value in real.flatten().tolist()) / 100
    expected += sum(max(0, average_real - value) ** 2 for value in fake.flatten().tolist()) / 100
    penalty = LeCam().penalty(real, fake)
    assert math.isclose(float(penalty.detach()), expected, rel_tol=1e-5)
    penalty.backward()
    torch.testing.assert_close(real.grad, 2 * (real - average_fake).clamp_min(0).detach() / 100)


def test_lecam_averages_are_weighted_sums_of_the_means():
    lecam = LeCam(decay=0.9)
    batches = [(logits(seed), logits(seed + 10)) for seed in range(4)]
    for real, fake in batches:
        lecam.penalty(real.requires_grad_(), fake)
    weights = [0.9**3, 0.1 * 0.9**2, 0.1 * 0.9, 0.1]
    expected = [sum(w * batch[side].mean() for w, batch in zip(weights, batches, strict=True)) for side in (0, 1)]
    averages = lecam.state_dict()["averages"]
    torch.testing.assert_close(averages, torch.stack(expected).detach())
    assert not averages.requires_grad


def test_lecam_resumes_from_its_state():
    lecam, again, fresh = LeCam(0.9), LeCam(0.9), LeCam(0.9)
    lecam.penalty(logits(1), logits(2))
    again.load_state_dict(lecam.state_dict())
    fresh.load_state_dict(LeCam().state_dict())
    penalties = [each.penalty(logits(3), logits(4)) for each in (lecam, again, fresh, LeCam(0.9))]
    assert penalties[0] == penalties[1] != penalties[2] == penalties[3]


def mean_of_both(value):
    distributed.all_reduce(value)
    return value / 2


def penalties_on_a_rank(rank, folder):
    lecam = LeCam(0.5, mean_of_both)
    for seed in (1, 2):
        lecam.penalty(logits(seed).chunk(2)[rank], logits(seed + 10).chunk(2)[rank])
    torch.save(lecam.state_dict(), folder / f"{rank}.pt")


def test_two_processes_have_the_averages_of_one(tmp_path):
    on_two_ranks(penalties_on_a_rank, tmp_path)
    lecam = LeCam(0.5)
    for seed in (1, 2):
        lecam.penalty(logits(seed), logits(seed + 10))
    first, second = (torch.load(tmp_path / f"{rank}.pt")["averages"] for rank in range(2))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, lecam.state_dict()["averages"])


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights():
    weight = torch.randn(3, 4, 4, requires_grad=True)
    pixels = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty((pixels * weight).sum(dim=(1, 2, 3))[:, None], pixels)
    torch.testing.assert_close(penalty, weight.square().sum() / 2)
    penalty.backward()
    torch.testing.assert_close(weight.grad, weight.detach())


def test_r1_of_patches_follows_finite_differences():
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.Tanh(), torch.nn.Conv2d(4, 1, 2)
    discriminator = torch.nn.Sequential(*layers).double()
    pixels = torch.randn(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty(discriminator(pixels), pixels).detach()
    assert float(penalty) > 0
    expected, length = 0.0, 1e-5
    with torch.no_grad():
        for index in range(pixels.numel()):
            shift = torch.zeros(pixels.numel(), dtype=torch.float64)
            shift[index] = length
            ahead, behind = (discriminator(pixels + sign * shift.view_as(pixels)).mean() for sign in (1, -1))
            expected += float(ahead - behind) ** 2 / (2 * length) ** 2 / 2
    assert math.isclose(float(penalty), expected, rel_tol=1e-4)


def test_r1_of_a_batch_is_the_mean_over_its_images():
    discriminator = PatchDiscriminatorConfig(channels=4, layers=1).build()
    pixels = torch.randn(3, 3, 12, 12, requires_grad=True)
    singles = [r1_penalty(discriminator(image[None]), pixels) for image in pixels]
    # Each takes all of `pixels`, and two thirds of them get no gradient.
    torch.testing.assert_close(r1_penalty(discriminator(pixels), pixels), torch.stack(singles).mean() * 3)


def test_r1_goes_through_a_frozen_transformer():
    network = timm.create_model("test_vit", dynamic_img_size=True)
    discriminator = BackboneDiscriminator(Backbone(network, "test_vit", [0, 5]), 8)
    pixels = torch.rand(2, 3, 40, 32, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH):
        r1_penalty(discriminator(pixels), pixels).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in discriminator.heads[0][0].parameters())
