"""A sheet of what several decoders make of the same tokens: original, plain decoder, then each decoder with its seeds.

    python scripts/decoder_sheet.py --images ../shared/data/photos-val-0000.tar --photo KEY --out results/decoders.png \
        --decoders photo-f8 'gan=runs/gan/export:generative' 'flow, 8 steps=runs/flow/export:generative@8'

DECODER is what judge_decoders.py takes; the plain decoder of the first FOLDER comes first. Each panel has the whole image at
1:1, with the first seed, and under it crops of every seed, enlarged without smoothing. Crops are the squares where the plain
decoder has the largest squared error, or those of --crop LEFT,TOP. The PNG may have 1.5 MB; more is refused.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

from decoder_judging.named import Opened, open_decoder, open_plain, parse_spec
from decoder_judging.photos import Photos, read_photos
from decoder_judging.sheet import Box, Panel, largest_errors, sheet
from vistok.images.preprocessing import stack_pixels, to_images
from vistok.images.saving import png_bytes
from vistok.tokenizer.files import write_whole
from vistok.tokenizer.shapes import Pixels


def main() -> int:
    """Write the sheet; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--decoders", nargs="+", type=parse_spec, required=True, metavar="DECODER", help="LABEL=FOLDER:NAME@STEPS"
    )
    parser.add_argument("--images", nargs="+", required=True, help="folders or shards")
    parser.add_argument("--photo", nargs="+", default=[], metavar="KEY", help="photos to show; default: the first")
    parser.add_argument("--out", type=Path, default=Path("results/decoders.png"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--columns", type=int, default=6, help="panels in a row")
    parser.add_argument("--crops", type=int, default=1, help="of each photo")
    parser.add_argument("--crop", type=corner, nargs="+", default=[], metavar="LEFT,TOP", help="in place of --crops")
    parser.add_argument("--side", type=int, default=64, help="of a crop, in pixels")
    parser.add_argument("--zoom", type=int, default=4)
    parser.add_argument("--megabytes", type=float, default=1.5, help="more is refused")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    try:
        size = write_sheet(arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.out}: {size / 1e6:.2f} MB")
    return 0


def write_sheet(arguments: argparse.Namespace) -> int:
    """Decode, draw and write; return the bytes of the file."""
    plain = open_plain(arguments.decoders[0].folder, arguments.device)
    opened = [open_decoder(spec, plain) for spec in arguments.decoders]
    opened = [decoder for decoder in opened if decoder.digest != plain.digest]
    photos = chosen(read_photos(arguments.images, plain.tokenizer, None if arguments.photo else 1), arguments.photo)
    drawn = []
    for array in photos.arrays:
        panels = panels_of(stack_pixels([array]), plain, opened, arguments.seeds)
        boxes = [Box(left, top, arguments.side) for left, top in arguments.crop]
        before = panels[0].samples[0], panels[1].samples[0]
        drawn.append((panels, boxes or largest_errors(*before, arguments.side, arguments.crops)))
    content = png_bytes(sheet(drawn, arguments.columns, arguments.zoom))
    if len(content) > 1e6 * arguments.megabytes:
        raise ValueError(
            f"The sheet has {len(content) / 1e6:.1f} MB, and {arguments.megabytes:g} are allowed: name fewer photos, decoders "
            "or crops, or raise --megabytes."
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out, content)
    return len(content)


def chosen(photos: Photos, keys: list[str]) -> Photos:
    """Return the photos of some keys, in their order, or all; raise ValueError for a key that none has."""
    missing = [key for key in keys if key not in photos.names]
    if missing:
        near = ", ".join(photos.names[:5])
        raise ValueError(f"There is no photo {missing[0]!r}: choose from {len(photos.names)}, such as {near}.")
    indices = [photos.names.index(key) for key in keys] or range(len(photos.names))
    return Photos([photos.names[index] for index in indices], [photos.arrays[index] for index in indices])


def panels_of(pixels: Pixels, plain: Opened, opened: list[Opened], seeds: list[int]) -> list[Panel]:
    """Return the original, the plain decoder's answer, and that of each decoder with each seed."""
    tokens = plain.tokenizer.encode_pixels(pixels)

    def image(decoder: Opened, seed: int) -> Image.Image:
        return to_images(decoder.decode(tokens, seed))[0]

    panels = [Panel("original", to_images(pixels), [""]), Panel("plain", [image(plain, 0)], [""])]
    for decoder in opened:
        samples = seeds[:1] if decoder.is_plain else seeds
        captions = [f"seed {seed}" for seed in samples]
        panels.append(Panel(decoder.label, [image(decoder, seed) for seed in samples], captions))
    return panels


def corner(text: str) -> tuple[int, int]:
    """Return LEFT,TOP as numbers."""
    left, top = text.split(",")
    return int(left), int(top)


if __name__ == "__main__":
    sys.exit(main())
