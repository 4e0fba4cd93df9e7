"""The size of a preprocessed image, and where the original is in it."""

import math

from ..tokenizer.preprocessing import PreprocessingConfig

MAX_ASPECT = 32
"""Images with a longer side are cropped to their middle before the resize to a square, which would cut off most of them."""


def network_size(config: PreprocessingConfig, height: int, width: int, downsample: int) -> tuple[int, int]:
    """Return height and width after preprocessing of an upright image of `height` x `width` pixels."""
    if config.side:
        return config.side, config.side
    multiple = math.lcm(config.multiple, downsample)
    if config.area:
        left, top = area_margins(config.area, height, width, multiple)
        return _area_size(config.area, height - 2 * top, width - 2 * left, multiple)
    if config.fit == "shrink":
        return max(multiple, height - height % multiple), max(multiple, width - width % multiple)
    return height + -height % multiple, width + -width % multiple


def original_box(
    config: PreprocessingConfig, height: int, width: int, downsample: int
) -> tuple[int, int, int, int] | None:
    """Return the part of a preprocessed image without what was added around it (left, top, right, bottom), or None for all."""
    if config.side and config.crop == "none":
        size = inner_size(config, height, width)
    elif config.size == "native" and config.fit != "shrink":
        size = height, width
    else:
        return None
    whole = network_size(config, height, width, downsample)
    is_around = config.side or config.fit == "surround"
    top, left = ((outer - inner) // 2 if is_around else 0 for outer, inner in zip(whole, size, strict=True))
    return left, top, left + size[1], top + size[0]


def inner_size(config: PreprocessingConfig, height: int, width: int) -> tuple[int, int]:
    """Return the size of an image whose long side is resized to `config.side`."""
    assert config.side
    side, long = config.side, max(height, width)
    if config.rounding == "down":
        return max(1, int(height / long * side)), max(1, int(width / long * side))
    return max(1, round(height * side / long)), max(1, round(width * side / long))


def margins(height: int, width: int, aspect: int) -> tuple[int, int]:
    """Return what to cut from both ends, left and top, so that the long side is at most about `aspect` short sides."""
    long = min(height, width) * aspect
    return max(0, (width - long) // 2), max(0, (height - long) // 2)


def area_margins(area: tuple[int, int], height: int, width: int, multiple: int) -> tuple[int, int]:
    """Return what to cut from images so long that at their area the short side would have less than `multiple` pixels."""
    return margins(height, width, max(1, (area[1] // multiple) ** 2))


def _area_size(area: tuple[int, int], height: int, width: int, multiple: int) -> tuple[int, int]:
    low, high = area
    if low == high:
        aspect = width / height
        rows = int((low**2 / aspect) ** 0.5)
        columns = int(rows * aspect)
        rows, columns = ((side + multiple // 2) // multiple for side in (rows, columns))
    else:
        rows, columns = round(height / multiple), round(width / multiple)
        pixels = rows * columns * multiple**2
        if pixels > high**2:
            shrunk = math.sqrt(height * width / high**2)
            rows, columns = (math.floor(side / shrunk / multiple) for side in (height, width))
        elif pixels < low**2:
            grown = math.sqrt(low**2 / (height * width))
            rows, columns = (math.ceil(side * grown / multiple) for side in (height, width))
    return max(1, rows) * multiple, max(1, columns) * multiple
