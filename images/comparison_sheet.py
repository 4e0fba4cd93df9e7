"""A sheet of images above their reconstructions."""

from collections.abc import Sequence

from PIL import Image

GAP = 8
SIDE = 256
COLUMNS = 8


def comparison_sheet(pairs: Sequence[tuple[Image.Image, Image.Image]]) -> Image.Image:
    """Return a sheet of 8 pairs a row, originals above reconstructions, each scaled down to at most 256 pixels a side."""
    rows = [_two_rows(pairs[start : start + COLUMNS]) for start in range(0, len(pairs), COLUMNS)]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height - GAP for row in rows) + GAP), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height - GAP
    return sheet


def _two_rows(pairs: Sequence[tuple[Image.Image, Image.Image]]) -> Image.Image:
    columns = [[_at_most(image, SIDE) for image in pair] for pair in pairs]
    height = max(image.height for column in columns for image in column)
    width = sum(column[0].width + GAP for column in columns) + GAP
    sheet = Image.new("RGB", (width, 2 * height + 3 * GAP), "white")
    left = GAP
    for column in columns:
        for row, image in enumerate(column):
            sheet.paste(image, (left, GAP + row * (height + GAP)))
        left += column[0].width + GAP
    return sheet


def _at_most(image: Image.Image, side: int) -> Image.Image:
    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
