import math

import pytest
import timm
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import distributed
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from ranks import on_two_ranks
from vistok.perception.backbones import Backbone
from vistok.tokenizer.config import parse_config
from vistok.train.losses.adversarial import (
    ADVERSARIAL_LOSSES,
    AdversarialConfig,
    LeCam,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
    r1_penalty,
    ramp,
)
from vistok.train.losses.discriminator_training import Adversary
from vistok.train.losses.discriminators import BackboneDiscriminator, PatchDiscriminatorConfig
from vistok.train.opponent import Made


def logits(seed: int, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(shape or (4, 1, 5, 5), generator=torch.Generator().manual_seed(seed))


def made_of(pixels):
    return Made(pixels, torch.zeros(len(pixels), 1, 1, 1), pixels)


def test_hinge_is_its_definition():
    real, fake = logits(1), logits(2)
    expected = sum(max(0, 1 - value) for value in real.flatten().tolist()) / real.numel()
    expected += sum(max(0, 1 + value) for value in fake.flatten().tolist()) / fake.numel()
    assert math.isclose(float(discriminator_loss("hinge", real, fake)), expected / 2, rel_tol=1e-5)
    assert math.isclose(float(generator_loss("hinge", fake)), -fake.double().mean(), rel_tol=1e-5)


def test_non_saturating_is_the_cross_entropy():
    real, fake = logits(1), logits(2)
    entropy = functional.binary_cross_entropy_with_logits
    expected = entropy(input=real, target=torch.ones_like(real)) + entropy(input=fake, target=torch.zeros_like(fake))
    torch.testing.assert_close(discriminator_loss("non_saturating", real, fake), expected / 2)
    torch.testing.assert_close(generator_loss("non_saturating", fake), entropy(fake, torch.ones_like(fake)))
    assert float(generator_loss("non_saturating", torch.tensor([10.0]))) == pytest.approx(4.54e-5, rel=1e-3)


@pytest.mark.parametrize("kind", ADVERSARIAL_LOSSES)
def test_the_two_sides_pull_apart(kind):
    real, fake = (torch.zeros(3, requires_grad=True) for _ in range(2))
    discriminator_loss(kind, real, fake).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    ours = torch.zeros(3, requires_grad=True)
    generator_loss(kind, ours).backward()
    assert (ours.grad < 0).all()


@pytest.mark.parametrize("kind", ADVERSARIAL_LOSSES)
def test_large_logits_stay_finite_and_bfloat16_is_widened(kind):
    far = torch.tensor([1e4, -1e4], dtype=torch.bfloat16)
    for loss in (discriminator_loss(kind, far, far), generator_loss(kind, far)):
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)


def test_betas_and_eps_reach_the_discriminators_optimizer():
    config = AdversarialConfig.model_validate(
        {"discriminator": {"name": "patch", "channels": 8, "layers": 1}, "eps": 1e-4}
    )
    (group,) = Adversary(config, 1e-3, Accelerator(cpu=True)).optimizer.param_groups
    assert (group["eps"], tuple(group["betas"]), group["lr"]) == (1e-4, (0.5, 0.9), 1e-3)


def test_an_adversary_with_r1_learns_through_a_frozen_transformer(tmp_path):
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    backbone = {"name": "test_vit", "weights": str(tmp_path / "vit.safetensors"), "stages": [5]}
    values = {"discriminator": {"name": "backbone", "backbone": backbone, "channels": 8}, "r1": 1.0, "r1_every": 1}
    config = AdversarialConfig.model_validate(values)
    adversary = Adversary(config, 1e-3, Accelerator(cpu=True))
    before = [parameter.clone() for parameter in adversary.network.parameters() if parameter.requires_grad]
    real, fake = torch.rand(2, 2, 3, 64, 64).mul(2).sub(1)
    scalars, _ = adversary.learn(1, [real], [made_of(fake)], 1.0)
    assert math.isfinite(scalars["discriminator/loss"]) and scalars["discriminator/r1"] > 0
    after = [parameter for parameter in adversary.network.parameters() if parameter.requires_grad]
    assert before and not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_the_adaptive_weight_is_the_ratio_of_gradients():
    layer = torch.randn(4, 6, requires_grad=True)
    inputs, target = torch.randn(6, 5), torch.randn(4, 5)
    output = layer @ inputs
    weight = adaptive_weight((output - target).square().mean(), -0.01 * output.mean(), layer)
    expected = 2 * (output - target) @ inputs.T / 20
    adversarial = -0.01 * inputs.sum(dim=1).expand(4, 6) / 20
    torch.testing.assert_close(weight, expected.detach().norm() / (adversarial.norm() + 1e-4))
    assert not weight.requires_grad
    assert layer.grad is None
    output.sum().backward()  # the graph is still there


def test_the_adaptive_weight_has_a_limit():
    layer = torch.ones(2, requires_grad=True)
    assert float(adaptive_weight(1e3 * layer.sum(), 0 * layer.sum(), layer)) == 1e4
    assert float(adaptive_weight(1e3 * layer.sum(), 0 * layer.sum(), layer, limit=2.0)) == 2.0
    assert float(adaptive_weight(0 * layer.sum(), layer.sum(), layer)) == 0.0


def test_the_ramp_is_a_line_from_its_start():
    assert [ramp(step, 10, 4) for step in (1, 10, 11, 12, 13, 14, 99)] == [0, 0, 0.25, 0.5, 0.75, 1, 1]
    assert [ramp(step, 10, 0) for step in (9, 10, 11)] == [0, 0, 1]


@pytest.mark.parametrize("length", [0, 3])
@pytest.mark.parametrize("start", [0, 2])
def test_the_factor_is_above_0_from_the_first_step_that_has_a_term(start, length):
    """The discriminator learns, the term is there, and the factor is above 0 at the same steps."""
    config = AdversarialConfig(discriminator=PatchDiscriminatorConfig(channels=4, layers=1), start=start, ramp=length)
    adversary = Adversary(config, 1e-3, Accelerator(cpu=True))
    pixels = torch.rand(2, 3, 16, 16)
    for step in range(1, 5):
        term = adversary.term(step, pixels)
        factor = adversary.factor(step, term, term, torch.nn.Parameter(torch.ones(1)))
        learned, _ = adversary.learn(step, [pixels], [made_of(pixels)], 1.0)
        assert (term != 0) == (factor > 0) == bool(learned) == adversary.is_active(step) == (step > start)


def test_configs_are_read_by_the_discriminators_name():
    values = {"discriminator": {"name": "backbone", "backbone": {"name": "test_vit", "stages": [1]}}, "lecam": 0.01}
    config = parse_config(AdversarialConfig, values)
    assert config.discriminator.backbone.stages == [1]
    assert AdversarialConfig().discriminator == PatchDiscriminatorConfig()
    assert parse_config(AdversarialConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"discriminator": {"name": "patches"}},
            "adversarial.discriminator.name 'patches' is not a known discriminator",
        ),
        ({"discriminator": {"name": "patch", "depth": 1}}, "adversarial.discriminator.depth is not a known key"),
        ({"loss": "wgan"}, "adversarial.loss is 'wgan', but must be 'hinge' or 'non_saturating'"),
        ({"r1_every": 0}, "adversarial.r1_every is 0, but must be"),
        ({"lecam_decay": 1.0}, "adversarial.lecam_decay is 1.0, but must be"),
    ],
)
def test_wrong_configs_are_one_sentence(values, problem):
    with pytest.raises(ValueError, match=problem):
        parse_config(AdversarialConfig, values, "adversarial")


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


def test_a_first_step_that_the_device_skips_leaves_lecam_as_fresh():
    lecam, fresh = LeCam(0.9), LeCam(0.9)
    for _ in range(2):
        before = lecam.averages
        lecam.penalty(torch.full((2, 1, 5, 5), torch.inf), logits(2))
        lecam.restore(before, torch.tensor(True))
    resumed = LeCam(0.9)
    resumed.load_state_dict(lecam.state_dict())
    for seed in (3, 4):
        expected = fresh.penalty(logits(seed), logits(seed + 10))
        assert (
            lecam.penalty(logits(seed), logits(seed + 10))
            == resumed.penalty(logits(seed), logits(seed + 10))
            == expected
        )


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
