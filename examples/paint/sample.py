"""Sample images from a model of train.py, and find the training images that are nearest to them.

python examples/paint/sample.py painter --packed packed/train --tokenizer small/export --out sheet.png
python examples/paint/sample.py painter --packed packed/train --tokenizer small/export --captions "lemon,alp" \
    --nearest images/train --held-out images/held-out --out nearest.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from transformers import LlamaForCausalLM

import vistok
from vistok.images.finding.index import index_images
from vistok.images.preprocessing import load_pixels
from vistok.inference.packed_shards.folder import PackedFolder
from vistok.sequences.constraint import CachedModel, generate_images

LABEL = 112
"""Pixels for the caption beside a row of images."""
STEP = 4
"""Colours of the sheet are multiples of it, which nobody sees: the file has half the size."""


def prompts_of(captions: list[str], packed: PackedFolder, pad: int) -> Tensor:
    """Return a prompt `b n` for each caption: what a document has before its image, with padding before it."""
    rows = [[packed.manifest.settings.bos, *ids] for ids in packed.text().encode_batch(captions)]
    length = max(map(len, rows))
    return torch.tensor([[pad] * (length - len(row)) + row for row in rows])


def paint(model: LlamaForCausalLM, packed: PackedFolder, grid, captions: list[str], options) -> Tensor:
    """Return tokens `b q y x` of an image for each caption, guided away from what the model paints without one."""
    pad = packed.vocabulary["image"].structure["pad"]
    prompts = prompts_of(captions, packed, pad).to(model.device)
    nothing = prompts.new_full((prompts.shape[1],), pad)
    nothing[-1] = packed.manifest.settings.bos
    return generate_images(
        CachedModel(model, pad=pad),
        packed.layout,
        grid,
        prompts,
        guidance=options.guidance,
        unconditional=None if options.guidance == 1 else nothing,
        temperature=options.temperature,
        top_k=options.top_k,
        generator=torch.Generator(model.device).manual_seed(options.seed),
    )


def read_images(folder: Path, tok: vistok.Tokenizer) -> list[Image.Image]:
    """Return the images of a folder as the tokenizer sees them."""
    images = []
    for entry in index_images(str(folder)):
        with entry.open() as file:
            images.append(Image.fromarray(load_pixels(file, tok.config.preprocessing, tok.downsample).pixels))
    return images


def nearest(images: list[Image.Image], known: list[Image.Image]) -> tuple[Tensor, Tensor]:
    """Return the index of the known image, as it is or mirrored, that is nearest to each, and the RMSE of 0 to 255 to it."""
    ours, theirs = (torch.from_numpy(np.stack([np.asarray(each) for each in part])).float() for part in (images, known))
    both = torch.stack([torch.cdist(ours.flatten(1), each.flatten(1)) for each in (theirs, theirs.flip(2))])
    distance, index = both.amin(0).min(1)
    return index, distance / ours[0].numel() ** 0.5


def sheet(rows: dict[str, list[Image.Image]]) -> Image.Image:
    """Return an image with a row of images for each label."""
    side, columns = next(iter(rows.values()))[0].width, max(map(len, rows.values()))
    page = Image.new("RGB", (LABEL + columns * side, len(rows) * side), "white")
    draw = ImageDraw.Draw(page)
    for y, (label, images) in enumerate(rows.items()):
        draw.text((4, y * side + side // 2 - 6), label, fill="black")
        for x, image in enumerate(images):
            page.paste(image, (LABEL + x * side, y * side))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--packed", required=True, help="folder that the model was trained on")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--captions", required=True, help="separated by commas; a row each")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--nearest", type=Path, help="folder of training images: shows the nearest one right of each sample"
    )
    parser.add_argument("--held-out", type=Path, help="with --nearest: images to compare the distances with")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    packed, tok = PackedFolder(arguments.packed), vistok.load(arguments.tokenizer)
    model = LlamaForCausalLM.from_pretrained(arguments.model).eval().to(tok.device)
    side = tok.config.preprocessing.side
    captions = [caption.strip() for caption in arguments.captions.split(",")]
    each = [caption for caption in captions for _ in range(arguments.columns)]
    tokens = paint(model, packed, tok.grid(side, side), each, arguments)
    images = tok.decode(tokens)
    shown = images
    if arguments.nearest:
        known = read_images(arguments.nearest, tok)
        index, distance = nearest(images, known)
        print(f"RMSE to the nearest training image: {distance.median():.1f}, min {distance.min():.1f}: samples")
        if arguments.held_out:
            real = tok.decode(tok.encode(read_images(arguments.held_out, tok)))
            far = nearest(real, known)[1]
            print(
                f"RMSE to the nearest training image: {far.median():.1f}, min {far.min():.1f}: held-out images, decoded"
            )
        shown = [image for pair in zip(images, map(known.__getitem__, index.tolist()), strict=True) for image in pair]
    width = len(shown) // len(captions)
    rows = {caption: shown[row * width : (row + 1) * width] for row, caption in enumerate(captions)}
    sheet(rows).point(lambda value: min(255, round(value / STEP) * STEP)).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {len(images)} samples")


if __name__ == "__main__":
    main()
