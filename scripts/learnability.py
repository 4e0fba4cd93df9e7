"""How learnable the tokens of the arena's quantizers are: distortion against the bits that a small transformer needs.

    python scripts/learnability.py --train 'PHOTOS/train-{0000..0009}.tar' --out results/learnability.json

The arena's autoencoder and latents are made, or read, as `quantizer_arena.py` makes them, and each quantizer is fitted to them
at the learning rate that the arena chose, whose rows are read. Then it tokenizes the training images, resized to 128 x 128: 256
positions each. A prior (`vistok.evaluation.prior`, as of `evaluate-tokenizer --prior`) is trained on most of them, and its
bits are those of the images held out. "VQ of K codes" are VQ with k-means as in the arena, for other sizes of the codebook.
Beside the bits are their fraction of log2 K of all codes, and what frequencies alone need. Distortion is over all images.

Rows are written after each quantizer. Started again with the same settings, the script continues where it stopped.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch

from arena.entries import ENTRIES, KMEANS, Entry
from arena.stage import ARCHITECTURE, set_up
from quantizer_arena import fit
from vistok.evaluation.prior.measure import ImageTokens, measure_prior
from vistok.images.preprocessing import to_pixels
from vistok.tokenizer.files import write_whole
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.data.config import SourceConfig
from vistok.train.data.read_images import ImageReader
from vistok.train.data.source_images import SourceImages
from vistok.train.data.unreadable_images import UnreadableLimit

SIDE = 128
SIZES = {
    f"VQ of {codes:,} codes": Entry({"name": "vq", "dim": 16, "codebook_size": codes}, codebook=KMEANS)
    for codes in (64, 256, 1024, 16384)
}
KNOWN = ENTRIES | SIZES
RATE = "VQ, k-means init"
"""The row of the arena whose learning rate those of other sizes take."""


@torch.no_grad()
def latents_of(stage: Any, train: list[str]) -> list[torch.Tensor]:
    """Return the latents `1 d y x` of all training images, resized to SIDE."""
    sources = SourceImages().of(SourceConfig(path=train))
    reader = ImageReader(PreprocessingConfig(size=SIDE), ARCHITECTURE.downsample)
    images = reader.readable(sources, UnreadableLimit(stop_at_first=True, max_fraction=0), print)
    return [stage.model.encode(to_pixels(image[None])) for image in images]


def row_of(
    name: str, rate: float, stage: Any, latents: list[torch.Tensor], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Fit a quantizer, tokenize all images with it, and measure a prior on the tokens."""
    entry = KNOWN[name]
    started = time.process_time()
    model = fit(entry, stage.latents, arguments.fit_steps // entry.part, arguments, rate)
    fitted, error, images = time.process_time(), 0.0, []
    with torch.no_grad():
        for index, latent in enumerate(latents):
            quantized, tokens, _ = model(latent)
            error += float((quantized - latent).square().mean()) / len(latents)
            images.append(ImageTokens(str(index), tokens[0], SIDE * SIDE))
    prior = measure_prior(images, model.quantizer, arguments.steps, torch.device("cpu"), arguments.seed)
    figures, facts = prior.figures(), prior.facts()
    codes = model.quantizer.vocab_size**model.quantizer.num_codebooks
    return {
        "name": name,
        "codes": codes,
        "distortion": error,
        **figures,
        "raw_bits_per_position": math.log2(codes),
        "frequency_fraction": facts["frequency_bits_per_token"] / math.log2(model.quantizer.vocab_size),
        "relative_standard_error": facts["standard_error_of_bits_per_image"] / figures["prior_bits_per_image"],
        "kept_step": facts["kept_step"],
        "validation": facts["validation_bits_per_symbol"],
        "images": facts["images"],
        "seconds": {"fit": fitted - started, "all": time.process_time() - started},
        "lr": rate,
    }


def markdown(rows: list[dict[str, Any]], psnr: dict[str, float]) -> str:
    """Return the rows as a table, fewest bits per pixel first."""
    lines = [
        "| quantizer | codes | distortion | PSNR (dB) | bits per pixel | prior bits per pixel | prior bits / log2 codes | "
        "of frequencies alone |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: row["prior_bits_per_pixel"]):
        decibels = f"{psnr[row['name']]:.2f}" if row["name"] in psnr else "-"
        lines.append(
            f"| {row['name']} | {row['codes']:,} | {row['distortion']:.4f} | {decibels} "
            f"| {row['raw_bits_per_position'] / 64:.4f} | {row['prior_bits_per_pixel']:.4f} | {row['prior_fraction']:.1%} "
            f"| {row['frequency_fraction']:.1%} |"
        )
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> None:
    """Make the rows that are not there yet, and write them after each."""
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("out", "only")}
    before = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"settings": settings, "rows": []}
    if before["settings"] != settings:
        raise ValueError(f"{arguments.out} holds rows of other settings: remove it, or name another file with --out.")
    rows, arena = before["rows"], {row["name"]: row for row in json.loads(arguments.arena.read_text())["rows"]}
    psnr = {name: row["psnr"] for name, row in arena.items()}
    missing = [name for name in arguments.only or KNOWN if name not in {row["name"] for row in rows}]
    if missing:
        stage = set_up(arguments)
        latents = latents_of(stage, arguments.train)
    for name in missing:
        rate = arena[name if name in arena else RATE]["lr"]
        rows.append(row_of(name, rate, stage, latents, arguments))
        write_whole(arguments.out, (json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n").encode())
        print(markdown(rows[-1:], psnr).splitlines()[-1], rows[-1]["seconds"], flush=True)
    print(markdown(rows, psnr))


def main() -> int:
    """Measure the quantizers; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True, help="folders or shards of images")
    parser.add_argument("--arena", type=Path, default=Path("results/arena.json"), help="rows of quantizer_arena.py")
    parser.add_argument("--out", type=Path, default=Path("results/learnability.json"))
    parser.add_argument("--autoencoder", type=Path, default=Path("runs/arena/autoencoder.pt"), help="where it is kept")
    parser.add_argument("--autoencoder-steps", type=int, default=600)
    parser.add_argument("--crops", type=int, default=64, help="batches of 16 crops whose latents are fitted")
    parser.add_argument("--fit-steps", type=int, default=800)
    parser.add_argument("--fit-batch", type=int, default=2048, help="latents of a step")
    parser.add_argument("--steps", type=int, default=1000, help="steps of the prior")
    parser.add_argument("--seed", type=int, default=0, help="of the prior")
    parser.add_argument("--only", nargs="+", choices=list(KNOWN), metavar="NAME", help="rows to make, if not all")
    arguments = parser.parse_args()
    arguments.val, arguments.val_images, arguments.adapt_steps = arguments.train, 1, 0
    try:
        run(arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
