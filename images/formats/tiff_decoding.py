"""Correct what Pillow makes of a TIFF before it decodes the pixels."""

from PIL import Image, ImageFile, ImagePalette, TiffImagePlugin

from .decoder_input import Grey, ImageError
from .tiff import BITS, PALETTE, PHOTOMETRIC, PLANES, SAMPLES, SEPARATE, grey_of


def grey_of_opened(image: Image.Image) -> Grey:
    """Return what the grey values of an image that a caller opened stand for, read from the tags of a TIFF."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return Grey()
    return grey_of(image.tag_v2.get(BITS, (1,)), image.tag_v2.get(PHOTOMETRIC, 0))


def prepare(image: ImageFile.ImageFile) -> None:
    """Correct strips, byte order and palette of a TIFF before it is decoded; raise ImageError when strips are missing."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    if image.info.get("compression") == "raw":
        image.tile = _tiles_once(image)
    elif image.mode == "F" and isinstance(image.tile[0].args, tuple):
        # Decompressed values have the byte order of this machine, not that of the file.
        image.tile = [image.tile[0]._replace(args=("F;32NF", *image.tile[0].args[1:]))]
    if image.mode in ("P", "PA") and max(image.tag_v2[PALETTE]) < 256:
        # Some writers store 8-bit palettes where 16 bits are required.
        image.palette = ImagePalette.raw("RGB;L", bytes(image.tag_v2[PALETTE]))


def _tiles_once(image: TiffImagePlugin.TiffImageFile) -> list[ImageFile._Tile]:
    """Return the strips or tiles that cover each plane once; a hostile file may list them many times."""
    planes = image.tag_v2.get(SAMPLES, 1) if image.tag_v2.get(PLANES, 1) == SEPARATE else 1
    left = image.width * image.height * planes
    tiles: list[ImageFile._Tile] = []
    for tile in image.tile:
        if left <= 0:
            return tiles
        west, north, east, south = tile.extents or (0, 0, 0, 0)
        left -= (east - west) * (south - north)
        tiles.append(tile)
    if left > 0:
        raise ImageError("broken image: strips are missing")
    return tiles
