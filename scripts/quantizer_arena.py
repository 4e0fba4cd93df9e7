"""Every quantizer on the same frozen latents at equal bits, then the decoder alone adapted to each.

    python scripts/quantizer_arena.py --train 'PHOTOS/train-{0000..0009}.tar' --val PHOTOS/val.tar --out results/arena.json

One autoencoder without a quantizer is trained first, and its standardised latents are kept. Every quantizer is fitted to the
same batches of them; those of other dimensions are placed between linear maps that begin as principal components and least
squares. Of three learning rates, the one with the lowest training distortion after a quarter of the steps is taken. Quantizers
whose losses cost ten times as much get a quarter of the steps, which the table shows. Distortion is the mean squared error per
channel on held-out latents of variance 1. Usage and perplexity are over the held-out tokens: 4,096 values for all but Leech,
which has 196,560. Several tokens of a position count as one. Everything but the decoder's training is float32.

`multiscale` is not here: it quantizes whole grids, and these are latents one by one.

Rows are written after each quantizer. Started again with the same settings, the script continues where it stopped.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from arena.entries import DIM, ENTRIES, Entry
from arena.stage import Stage, as_rows, descend, set_up
from arena.table import markdown, plot, results, rows_before
from vistok.evaluation.metrics import psnr
from vistok.evaluation.usage import codebook_usage, count_tokens, empty_counts
from vistok.tokenizer.files import write_whole
from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.codebook.maintenance import CodebookConfig
from vistok.train.finetune.config import FitConfig
from vistok.train.finetune.fit_quantizer import fit_quantizer
from vistok.train.finetune.swap_quantizer import FittedQuantizer, LatentPairs, as_latent, between_linear_maps
from vistok.train.optimizer.routing import OptimizerConfig

RATE_FACTORS = (0.2, 1.0, 5.0)
PILOT = 4
"""The learning rate is chosen after this fraction of the steps: one in PILOT."""


def prepared(entry: Entry, latents: Tensor) -> FittedQuantizer:
    """Build the quantizer of an entry; between linear maps where it has other dimensions than the latents."""
    torch.manual_seed(0)
    quantizer = build_quantizer(entry.values)
    if quantizer.dim != DIM:
        return between_linear_maps(quantizer, LatentPairs(latents, latents))
    if list(quantizer.parameters()):
        return FittedQuantizer(nn.Identity(), quantizer, nn.Identity())
    # The fit steps parameters, and moving averages have none: this map gets gradients of 0 and stays the identity.
    same = nn.Conv2d(DIM, DIM, 1, bias=False)
    nn.init.dirac_(same.weight)
    return FittedQuantizer(same, quantizer, nn.Identity())


def fit(entry: Entry, latents: Tensor, steps: int, arguments: argparse.Namespace, rate: float) -> FittedQuantizer:
    """Fit the quantizer of an entry; every entry sees the same batches."""
    model = prepared(entry, latents)
    values = {"steps": steps, "batch_size": arguments.fit_batch, "lr": rate}
    config = FitConfig.model_validate(values | entry.optimizer)
    codebook = CodebookConfig.model_validate(entry.codebook)
    torch.manual_seed(0)
    fit_quantizer(model, latents, latents, entry.weights, config, codebook, Accelerator(cpu=True), seed=0)
    return model


def best_rate(entry: Entry, latents: Tensor, arguments: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """Return the learning rate with the lowest training distortion after a short fit, and the distortion of each."""
    rates = [factor * arguments.lr for factor in RATE_FACTORS]
    if not list(build_quantizer(entry.values).parameters()) and "reconstruction" not in entry.weights:
        return arguments.lr, {}  # a moving average has no rate
    sample = latents[:: max(1, len(latents) // 16384)]
    steps = arguments.fit_steps // entry.part // PILOT
    found = {rate: measure(fit(entry, latents, steps, arguments, rate), sample)["distortion"] for rate in rates}
    return min(found, key=found.__getitem__), {f"{rate:g}": value for rate, value in found.items()}


@torch.no_grad()
def measure(model: FittedQuantizer, latents: Tensor) -> dict[str, float]:
    """Return distortion, usage and perplexity on latents `n d`, the tokens of a position taken as one of all together."""
    quantizer = model.quantizer
    weights = (quantizer.vocab_size ** torch.arange(quantizer.num_codebooks)).reshape(1, -1, 1, 1)
    codes = quantizer.vocab_size**quantizer.num_codebooks
    error, counts = 0.0, empty_counts(1, codes)
    for vectors in latents.split(16384):
        quantized, tokens, _ = model(as_latent(vectors))
        error += float((quantized - as_latent(vectors)).square().sum())
        count_tokens(counts, (tokens * weights).sum(dim=1, keepdim=True), codes)
    (usage,) = codebook_usage(counts, codes)
    return {"distortion": error / latents.numel(), "usage": usage.usage, "perplexity": usage.perplexity}


def adapted_psnr(stage: Stage, quantized: Callable[[Tensor], Tensor]) -> float:
    """Adapt the decoder to what `quantized` makes of latents, and return the mean PSNR on held-out images."""
    torch.manual_seed(0)
    twin = copy.deepcopy(stage.model)
    twin.decoder.requires_grad_(True)
    if stage.adaptation:
        pairs = [(example.pixels, quantized(example.latent)) for example in stage.adaptation]
        config = OptimizerConfig(lr=5e-4, warmup=min(10, len(pairs) // 2))
        descend(twin, config, len(pairs), ((x, lambda z=z: twin.decode(z)) for x, z in pairs))
    with torch.no_grad():
        scores = [psnr(example.pixels, twin.decode(quantized(example.latent))) for example in stage.held_out]
    return float(torch.cat(scores).mean())


def row_of(name: str, entry: Entry, stage: Stage, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fit, measure and adapt to one quantizer."""
    rate, sweep = best_rate(entry, stage.latents, arguments)
    started = time.process_time()
    steps = arguments.fit_steps // entry.part
    fitted = fit(entry, stage.latents, steps, arguments, rate)
    seconds = time.process_time() - started

    @torch.no_grad()
    def quantized(latent: Tensor) -> Tensor:
        return fitted(latent).latent

    return {
        "name": name,
        **measure(fitted, torch.cat([as_rows(example.latent) for example in stage.held_out])),
        "psnr": adapted_psnr(stage, quantized),
        "seconds": seconds,
        "steps": steps,
        "lr": rate,
        "training distortion by lr": sweep,
        "entry": entry._asdict(),
    }


def run(arguments: argparse.Namespace) -> None:
    """Make the rows that are not there yet, and write them after each."""
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("out", "only")}
    settings["rate factors"] = str(RATE_FACTORS)
    rows = rows_before(arguments.out, settings)
    stage = set_up(arguments)
    facts = {
        "bits per position": "12, but 17.6 for Leech",
        "latents": len(stage.latents),
        "held-out latents": sum(example.latent[:, 0].numel() for example in stage.held_out),
        "psnr without a quantizer": adapted_psnr(stage, lambda latent: latent),
    }
    for name in arguments.only or ENTRIES:
        if name in {row["name"] for row in rows}:
            continue
        rows.append(row_of(name, ENTRIES[name], stage, arguments))
        write_whole(arguments.out, (json.dumps(results(rows, settings, facts), indent=1) + "\n").encode())
        print(markdown(rows[-1:]).splitlines()[-1], flush=True)
    plot(rows, arguments.out.with_suffix(".png"))
    print(markdown(rows))
    print({key: value for key, value in results(rows, settings, facts).items() if key not in ("rows", "settings")})


def main() -> int:
    """Run the arena; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True, help="folders or shards of images")
    parser.add_argument("--val", nargs="+", required=True, help="folders or shards of other images")
    parser.add_argument("--out", type=Path, default=Path("results/arena.json"), help="rows; a plot goes beside it")
    parser.add_argument("--autoencoder", type=Path, default=Path("runs/arena/autoencoder.pt"), help="where it is kept")
    parser.add_argument("--autoencoder-steps", type=int, default=600)
    parser.add_argument("--crops", type=int, default=64, help="batches of 16 crops whose latents are fitted")
    parser.add_argument("--fit-steps", type=int, default=240)
    parser.add_argument("--fit-batch", type=int, default=1024, help="latents of a step")
    parser.add_argument("--adapt-steps", type=int, default=24)
    parser.add_argument("--val-images", type=int, default=24, help="how many images are measured on")
    parser.add_argument("--lr", type=float, default=5e-3, help="the middle one of the learning rates that are tried")
    parser.add_argument("--only", nargs="+", choices=list(ENTRIES), metavar="NAME", help="rows to make, if not all")
    try:
        run(parser.parse_args())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
