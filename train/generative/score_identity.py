"""Distillation of a flow to one step by score identities: the loss L2 - lambda L1.

A generator makes a sample g from noise, and z = (1 - t) g + t e, e ~ N(0, 1), has a density p that moves with the
generator. The teacher predicts phi(z, t), the mean of u over the data; the fake network predicts psi(z, t), fitted by
`flow_loss` to samples: psi = E[g | z]. With a weight w(t), and expectations over t, g and e,

    D  = E w |phi - psi|^2              what we minimise: 0 where samples and data have one distribution
    L1 = E w |phi - psi|^2              the same number, but psi's parameters are held when it is differentiated
    L2 = E w <phi - psi, phi - g>       the same number too, as E <f, psi> = E <f, g> for every f(z, t)

Gradients. With the parameters of phi and psi held, and derivatives through z and through g:

    2 L2 - L1 = E w (|phi|^2 - 2 <phi, g>) + E w (2 <psi, g> - |psi|^2)

The second term is E w |psi|^2, its maximum over all functions psi of z; at a maximum the derivative through psi's parameters
is 0, so holding them changes nothing. The first is E w (|phi|^2 - 2 <phi, psi>) by the identity. So grad (2 L2 - L1) = grad D.
It has two parts: grad L1, which moves p to where the networks already agree, and the rest, which changes psi. Together

    2 grad (L2 - lambda L1) = (part through psi) + 2 (1 - lambda) (part through p)

    lambda = 1/2   half the gradient of D, without bias: flow generator matching (arXiv 2410.19310)
    lambda = 1     the part through psi alone: score identity distillation (arXiv 2404.04057), which found 1 to 1.2 best
    L1 alone       the part through p alone: 0 for a generator that only shifts Gaussian data, however wrong the shift

z must keep its graph through both networks: without the Jacobians of phi and psi the gradients are others.

Forms. Predictions of u, of the velocity (z - u)/t and of the noise (z - (1 - t) u)/t differ by factors of t, for phi, psi and
g alike: v_psi - v_phi = (phi - psi)/t. The losses are the same, sample by sample, with w = 1/t^2 on predictions of u, 1 on
velocities (the target is e - g) and 1/(1 - t)^2 on noise (the target is e, as in kexue.fm/archives/10567).
"""

from jaxtyping import Float
from torch import Tensor

from ...tokenizer.decoders.euler import Residual, Times
from .flow import at_least_float32, beside, velocity_weight

FLOW_GENERATOR_MATCHING = 0.5
"""The lambda whose gradient is that of the divergence."""


def disagreement(teacher: Residual, fake: Residual, weight: Times) -> Float[Tensor, ""]:
    """Return L1, the mean of w |phi - psi|^2 over all elements."""
    difference = at_least_float32(teacher) - at_least_float32(fake)
    return (beside(weight, difference) * difference.square()).mean()


def projected(teacher: Residual, fake: Residual, target: Residual, weight: Times) -> Float[Tensor, ""]:
    """Return L2, the mean of w (phi - psi)(phi - g) over all elements; `target` is g, or e - g for velocities."""
    teacher = at_least_float32(teacher)
    difference = teacher - at_least_float32(fake)
    return (beside(weight, difference) * difference * (teacher - at_least_float32(target))).mean()


def matching_loss(
    teacher: Residual, fake: Residual, sample: Residual, times: Times, penalty: float = FLOW_GENERATOR_MATCHING
) -> Float[Tensor, ""]:
    """Return L2 - lambda L1 of predictions of u and the sample, with w = 1 / max(t, 0.05)^2; lambda is `penalty`.

    The fake network's parameters must not require a gradient here, its input z must: z is `interpolate(sample, noise, times)`.
    """
    weight = velocity_weight(times)
    return projected(teacher, fake, sample, weight) - penalty * disagreement(teacher, fake, weight)
