"""Which smoothing convolution each scale of a multi-scale quantizer has."""


def shared_smoothers(scales: int, smoothers: int) -> list[int]:
    """Return the index of each scale's smoother: the one whose tick is nearest to the scale's position in [0, 1].

    The ticks are those of https://github.com/FoundationVision/VAR: even steps from 1 / (3 K) to 1 - 1 / (3 K) for K = 4
    smoothers, from 1 / (2 K) to 1 - 1 / (2 K) for other K.
    """
    first = 1 / 3 / smoothers if smoothers == 4 else 1 / 2 / smoothers
    step = (1 - first - first) / max(1, smoothers - 1)
    ticks = [first + step * index for index in range(smoothers)]
    positions = [index / max(1, scales - 1) for index in range(scales)]
    return [min(range(smoothers), key=lambda index: abs(ticks[index] - position)) for position in positions]
