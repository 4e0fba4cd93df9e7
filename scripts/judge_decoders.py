"""One table of several decoders of the same tokens, on photos that none of them was trained on.

    python scripts/perceptual_weights.py --out weights
    python scripts/judge_decoders.py --images ../shared/data/photos-val-0000.tar --out results/decoders.json \
        --perceptual tf_efficientnet_lite2=weights/tf_efficientnet_lite2.safetensors \
        --frechet tf_efficientnet_lite1=weights/tf_efficientnet_lite1.safetensors \
        --decoders photo-f8 'gan=runs/gan/export:generative' 'flow, 8 steps=runs/flow/export:generative@8'

A decoder is LABEL=FOLDER:NAME@STEPS; FOLDER alone is its plain decoder, and that of the first FOLDER is always the first row.
Neither network may be one that a decoder was trained with. What the figures mean: docs/evaluate.md, "Decoders".
The Frechet distance is between patches of 64 x 64 pixels of the photos and of the reconstructions, over the mean of a timm
model's last features. They lie on an even grid over each photo and may overlap; there are as many as give at least --patches in
all, and the file says how many. "without_window" is the power kept without a Hann window, which counts the jump between
opposite borders. The time of a decoder, alone on one image, is measured in turns with that of the plain decoder.

Rows are written after each decoder. Started again with the same settings, the script keeps the rows of decoders whose weights
and tokens are the same.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from decoder_judging.named import Opened, Spec, open_decoder, open_plain, parse_spec
from decoder_judging.photos import PatchDistance, Photos, read_photos
from decoder_judging.table import cells, markdown
from vistok.evaluation.decoder_quality import decode_milliseconds, measure_decoder
from vistok.evaluation.frechet import frechet_distance
from vistok.evaluation.rows import finite_figures
from vistok.evaluation.running_covariance import RunningCovariance
from vistok.evaluation.spectrum import EDGES, power_kept, radial_power
from vistok.perception.backbones import BackboneConfig, load_backbone
from vistok.perception.distance import PerceptualConfig, build_perceptual
from vistok.tokenizer.devices import device_name
from vistok.tokenizer.files import write_whole


class Judge(NamedTuple):
    """What every decoder is measured with."""

    photos: Photos
    perceptual: nn.Module
    patches: PatchDistance
    originals: RunningCovariance
    seeds: list[int]


def main() -> int:
    """Judge the decoders; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--decoders", nargs="+", type=parse_spec, required=True, metavar="DECODER", help="LABEL=FOLDER:NAME@STEPS"
    )
    parser.add_argument("--images", nargs="+", required=True, help="folders or shards of photos that none has seen")
    parser.add_argument("--count", type=int, help="how many of them; default: all")
    parser.add_argument("--out", type=Path, default=Path("results/decoders.json"))
    parser.add_argument(
        "--perceptual", required=True, metavar="MODEL=FILE", help="timm model, and its weights if offline"
    )
    parser.add_argument("--frechet", required=True, metavar="MODEL=FILE", help="timm model, and its weights if offline")
    parser.add_argument("--patches", type=int, default=5000, help="at least as many, of all photos")
    parser.add_argument("--patch", type=int, default=64, help="side of a patch")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="at least two")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if len(arguments.seeds) < 2:
        parser.error("--seeds needs at least two seeds, for their variance.")
    try:
        print(markdown(run(arguments)))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Make the rows that are not there yet, write them after each, and return all that were asked for, in order."""
    plain = open_plain(arguments.decoders[0].folder, arguments.device)
    photos = read_photos(arguments.images, plain.tokenizer, arguments.count)
    judge = build_judge(arguments, photos, plain.tokenizer.device)
    settings = settings_of(arguments, judge)
    before = rows_before(arguments.out, settings)
    rows: dict[str, dict[str, Any]] = {}
    for spec in [Spec(plain.label, arguments.decoders[0].folder), *arguments.decoders]:
        decoder = open_decoder(spec, plain)
        if decoder.digest in {row["digest"] for row in rows.values() if row["is_plain"]}:
            continue  # the plain decoder again
        if spec.label in rows:
            raise ValueError(f"Two decoders are called {spec.label!r}: give them labels, LABEL=FOLDER:NAME.")
        kept, now = before.pop(spec.label, None), (decoder.digest, decoder.tokenizer.fingerprint)
        row = kept if kept and (kept["digest"], kept["fingerprint"]) == now else row_of(decoder, plain, judge)
        rows[spec.label] = row
        content = {"settings": settings, "rows": [*rows.values(), *before.values()]}
        write_whole(arguments.out, (json.dumps(content, indent=1) + "\n").encode())
        print(" | ".join(cells(row, rows[plain.label]["figures"]["high_power_kept"])), file=sys.stderr, flush=True)
    return list(rows.values())


def build_judge(arguments: argparse.Namespace, photos: Photos, device: torch.device) -> Judge:
    """Load the networks that judge, and look at the photos themselves."""
    model, _, weights = arguments.perceptual.partition("=")
    perceptual = build_perceptual(PerceptualConfig(backbone=model, weights=Path(weights) if weights else None))
    model, _, weights = arguments.frechet.partition("=")
    backbone = load_backbone(BackboneConfig(name=model, weights=Path(weights) if weights else None)).to(device)
    patches = PatchDistance(backbone.pooled, arguments.patch, math.ceil(arguments.patches / len(photos.arrays)))
    originals = patches.statistics([batch.to(device) for batch in photos.batches()])
    return Judge(photos, perceptual.to(device), patches, originals, arguments.seeds)


def settings_of(arguments: argparse.Namespace, judge: Judge) -> dict[str, Any]:
    """Return everything that rows must have in common to be compared."""
    return {
        "images": [Path(path).name for path in arguments.images],
        "photos": len(judge.photos.arrays),
        "photos_sha256": judge.photos.digest(),
        "perceptual": arguments.perceptual.partition("=")[0],
        "frechet": arguments.frechet.partition("=")[0],
        "patches": int(judge.originals.count),
        "patches_per_photo": judge.patches.per_image(),
        "patch": arguments.patch,
        "seeds": arguments.seeds,
        "band_edges": list(EDGES),
        "device": device_name(judge.originals.mean.device),
    }


def rows_before(path: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of an earlier start by label; raise ValueError if its settings are not the same."""
    if not path.exists():
        return {}
    before = json.loads(path.read_text())
    if before["settings"] != settings:
        raise ValueError(f"{path} holds rows of other settings: remove it, or name another file with --out.")
    return {row["label"]: row for row in before["rows"]}


def row_of(decoder: Opened, plain: Opened, judge: Judge) -> dict[str, Any]:
    """Measure one decoder."""
    encode = decoder.tokenizer.encode_pixels
    found: list[Tensor] = []
    power: list[tuple[Tensor, Tensor]] = []

    def on_batch(pixels: Tensor, decoded: list[Tensor]) -> None:
        found.append(decoded[0])
        power.append(tuple(radial_power(side, window=False).bands for side in (pixels, decoded[0])))

    seeds = judge.seeds[:1] if decoder.is_plain else judge.seeds
    quality = measure_decoder(judge.photos.batches(), encode, decoder.decode, judge.perceptual, seeds, on_batch)
    tokens = encode(judge.photos.batches()[0][:1])
    plain_milliseconds, milliseconds = decode_milliseconds([plain.decode, decoder.decode], tokens)
    return {
        "label": decoder.label,
        "is_plain": decoder.is_plain,
        "figures": finite_figures(quality._replace(milliseconds=milliseconds).figures()),
        "frechet": frechet_distance(judge.originals, judge.patches.statistics(found)),
        "without_window": power_kept(*(torch.cat(side) for side in zip(*power, strict=True))),
        "plain_milliseconds": plain_milliseconds,
        "fingerprint": decoder.tokenizer.fingerprint,
        "digest": decoder.digest,
    }


if __name__ == "__main__":
    sys.exit(main())
