"""The convolutions that smooth the scales of a multi-scale quantizer, and which scale has which."""

from torch import nn
from torch.nn import functional

from ...shapes import Latent


def shared_smoothers(scales: int, smoothers: int) -> list[int]:
    """Return the number of each scale's smoother: the one whose tick is nearest to the scale's place in [0, 1].

    The ticks are those of the authors' code: even steps from 1 / (3 K) to 1 - 1 / (3 K) for K = 4 smoothers, from 1 / (2 K)
    to 1 - 1 / (2 K) for other numbers.
    """
    first = 1 / 3 / smoothers if smoothers == 4 else 1 / 2 / smoothers
    step = (1 - first - first) / max(1, smoothers - 1)
    ticks = [first + step * number for number in range(smoothers)]
    places = [number / max(1, scales - 1) for number in range(scales)]
    return [min(range(smoothers), key=lambda number: abs(ticks[number] - place)) for place in places]


def smooth(layer: nn.Module, latent: Latent) -> Latent:
    """Convolve with a 3 x 3 kernel in float32, whatever the type of the weights."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    return functional.conv2d(latent, layer.weight.float(), layer.bias.float(), padding=1)
