"""Every quantizer on the same frozen latents at equal bits, then the decoder alone adapted to each.

    python scripts/quantizer_arena.py --train 'PHOTOS/train-{0000..0009}.tar' --val PHOTOS/val.tar --out results/arena.json

One autoencoder without a quantizer is trained first, and its standardised latents are kept. Every quantizer is fitted to the
same batches of them; those of other dimensions stand between linear maps that begin as principal components and least
squares. Of two learning rates the one with the lower training distortion after a quarter of the steps is taken; quantizers
whose losses are ten times as dear get a quarter of the steps, which the table shows. Distortion is the mean squared error a
channel on held-out latents, of variance 1; usage and perplexity are over the held-out tokens, all of 4,096 values: where a
position has several tokens they count as one. Everything but the decoder's training is float32.

`multiscale` is not here: it quantizes whole grids, and these are latents one by one.

Rows are written after each quantizer; started again with the same settings, the script goes on where it was stopped.
"""

import argparse
import copy
import json
import statistics
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch
from accelerate import Accelerator
from einops import rearrange
from torch import Tensor, nn

from vistok.images.preprocessing import to_pixels
from vistok.tokenizer.convolutional import ConvolutionalConfig, Decoder, Encoder
from vistok.tokenizer.devices import multiplies_bfloat16
from vistok.tokenizer.files import write_whole
from vistok.tokenizer.metrics import psnr
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.usage import codebook_usage, count_tokens
from vistok.train.codebook_care import CodebookCareConfig
from vistok.train.data import DataConfig, SourceConfig, training_batches
from vistok.train.fit import FitConfig, FittedQuantizer, as_latent, fit_quantizer
from vistok.train.optimizer import OptimizerConfig, build_optimizer, claim_parameters
from vistok.train.schedule import learning_rate
from vistok.train.swap import LatentPairs, between_linear_maps
from vistok.train.validate import validation_pictures

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DIM = 16
CODES = 4096
RATE_SHARES = (0.2, 1.0)
PILOT = 4
"""Share of the steps after which a learning rate is judged: one in so many."""
ARCHITECTURE = ConvolutionalConfig.model_validate(
    {
        "stem": 4,
        "norm": "pixel",
        "resampling": "shuffle",
        "latent_channels": DIM,
        "encoder": {"channels": [64, 128], "blocks": [1, 1], "middle": False},
        "decoder": {"channels": [64, 128], "blocks": [1, 2], "middle": False},
    }
)


class Entry(NamedTuple):
    """A quantizer and how it is fitted."""

    values: dict[str, Any]
    weights: dict[str, float] = {"codebook": 1.0, "commitment": 0.0}
    """Weights of its loss terms; the latents are frozen, so the commitment has nothing to pull."""
    care: dict[str, Any] = {}
    """Values of CodebookCareConfig."""
    part: int = 1
    """It gets one of so many steps."""


def _table(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "dim": DIM, "codebook_size": CODES, **more}


SMALL = {"initial_scale": 1e-3}
FROZEN = {"codebook": 1.0, "commitment": 0.0}
DECODED = {"reconstruction": 1.0}
BINARY = DECODED | {"commitment": 0.25, "sample_entropy": 0.01, "codebook_entropy": 0.01}
KMEANS = {"initialise": "kmeans", "vectors_per_code": 8, "kmeans_iterations": 5}
REVIVAL = {"revive_every": 50}
ENTRIES: dict[str, Entry] = {
    "VQ, small init": Entry(_table("vq", **SMALL)),
    "VQ": Entry(_table("vq")),
    "VQ, k-means init": Entry(_table("vq"), care=KMEANS),
    "VQ, small init, revival": Entry(_table("vq", **SMALL), care=REVIVAL),
    "VQ, small init, Wasserstein": Entry(
        _table("vq", **SMALL, distribution="wasserstein"), FROZEN | {"wasserstein": 0.1}
    ),
    "VQ, small init, MMD": Entry(_table("vq", **SMALL, distribution="mmd"), FROZEN | {"mmd": 1.0}, part=4),
    "VQ, small init, region": Entry(_table("vq", **SMALL, region=True), FROZEN | {"region": 0.1}),
    "VQ, small init, soft top-4": Entry(
        _table("vq", **SMALL, soft={"k": 4, "temperature": 1.0}), FROZEN | DECODED, part=4
    ),
    "VQ, DiVeQ": Entry(_table("vq", gradient="diveq"), DECODED | {"codebook": 0.0, "commitment": 0.0}),
    "EMA, small init": Entry(_table("ema", **SMALL), {"commitment": 0.0}),
    "EMA, k-means init, revival": Entry(_table("ema"), {"commitment": 0.0}, care=KMEANS | REVIVAL),
    "SimVQ": Entry(_table("simvq")),
    "SimVQ, diagonal": Entry(_table("simvq", projection="diagonal")),
    "SimVQ, MLP": Entry(_table("simvq", projection="mlp")),
    "SimVQ, trained basis": Entry(_table("simvq", trained_basis=True)),
    "FVQ": Entry(_table("fvq")),
    "VQ, cosine, d = 8": Entry(
        _table("vq", similarity="cosine") | {"dim": 8}, DECODED | {"codebook": 1.0, "commitment": 0.25}
    ),
    # The paper's terms and weights (arXiv 2412.02692): temperature 0.01, entropies by 0.05.
    "IBQ": Entry(
        _table("ibq"),
        DECODED
        | {"codebook": 1.0, "commitment": 0.25, "assignment": 1.0, "sample_entropy": 0.05, "codebook_entropy": 0.05},
        part=4,
    ),
    "FSQ [8, 8, 8, 8]": Entry({"name": "fsq", "levels": [8, 8, 8, 8]}, DECODED),
    "FSP [8, 8, 8, 8]": Entry({"name": "fsp", "levels": [8, 8, 8, 8]}, DECODED | {"moments": 0.1}),
    "LFQ, 12 bits": Entry({"name": "lfq", "dim": 12}, BINARY),
    "BSQ, 12 bits": Entry({"name": "bsq", "dim": 12}, BINARY),
    "residual, 2 x 64": Entry({"name": "residual", "depth": 2, "quantizer": _table("vq") | {"codebook_size": 64}}),
    "grouped, 2 x 64": Entry(
        {"name": "grouped", "groups": 2, "quantizer": _table("vq") | {"codebook_size": 64, "dim": DIM // 2}}
    ),
}


class Autoencoder(nn.Module):
    """Encoder and decoder around a latent that is standardised a channel at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(ARCHITECTURE), Decoder(ARCHITECTURE)
        self.register_buffer("mean", torch.zeros(1, DIM, 1, 1))
        self.register_buffer("deviation", torch.ones(1, DIM, 1, 1))

    def encode(self, pixels: Tensor) -> Tensor:
        return (self.encoder(pixels) - self.mean) / self.deviation

    def decode(self, latent: Tensor) -> Tensor:
        return self.decoder(latent * self.deviation + self.mean)


class Example(NamedTuple):
    """Pictures `b h w c`, uint8, and their latents."""

    pictures: Tensor
    latent: Tensor

    @property
    def pixels(self) -> Tensor:
        """The pictures in [-1, 1]."""
        return to_pixels(self.pictures).contiguous(memory_format=torch.channels_last)


class Stage(NamedTuple):
    """What every row is measured on."""

    model: Autoencoder
    latents: Tensor
    """Training latents `n d`."""
    adaptation: list[Example]
    """Batches that the decoder is adapted on."""
    held_out: list[Example]


def crops(train: list[str], size: int, batch: int, steps: int, seed: int) -> Iterable[Tensor]:
    """Return uint8 batches of random crops."""
    data = DataConfig.model_validate({"train": train, "size": size, "batch_size": batch, "cached_pictures": 10_000})
    return training_batches(data, seed, 0, steps, 0, 1)


def descend(
    model: nn.Module, config: OptimizerConfig, steps: int, batches: Iterable[tuple[Tensor, Callable[[], Tensor]]]
) -> None:
    """Descend the mean squared error of answers to pixels: a step for each pair of pixels and function that answers."""
    optimizer = build_optimizer(claim_parameters(model, config), config)
    half = multiplies_bfloat16(torch.device("cpu"))
    for step, (pixels, answer) in enumerate(batches, 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, config)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            answered = answer()
        loss = (answered.float() - pixels).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def autoencoder(train: list[str], steps: int, path: Path) -> Autoencoder:
    """Train the autoencoder, or read it from `path`; raise ValueError when that one was trained otherwise."""
    settings = {"train": train, "steps": steps, "architecture": ARCHITECTURE.model_dump_json()}
    torch.manual_seed(0)
    model = Autoencoder().to(memory_format=torch.channels_last)
    if path.exists():
        kept = torch.load(path, weights_only=True)
        if kept.get("settings") != settings:
            raise ValueError(
                f"{path} holds an autoencoder of other --train, --autoencoder-steps or architecture: remove it, or name "
                "another file with --autoencoder."
            )
        model.load_state_dict(kept["state"])
        return model.eval().requires_grad_(False)
    pixels = (
        to_pixels(batch).contiguous(memory_format=torch.channels_last) for batch in crops(train, 64, 32, steps, 0)
    )
    config = OptimizerConfig(lr=2e-3, warmup=min(100, steps // 4))
    descend(model, config, steps, ((x, lambda x=x: model.decode(model.encode(x))) for x in pixels))
    model.eval().requires_grad_(False)
    raw = torch.cat([model.encoder(to_pixels(batch)) for batch in crops(train, 128, 16, 40, seed=1)])
    model.mean.copy_(raw.mean(dim=(0, 2, 3), keepdim=True))
    model.deviation.copy_(raw.std(dim=(0, 2, 3), keepdim=True))
    content = BytesIO()
    torch.save({"settings": settings, "state": model.state_dict()}, content)
    write_whole(path, content.getvalue())
    return model


@torch.no_grad()
def set_up(arguments: argparse.Namespace) -> Stage:
    """Make the autoencoder and all latents, once for all rows."""
    with torch.enable_grad():
        model = autoencoder(arguments.train, arguments.autoencoder_steps, arguments.autoencoder)
    latents = [as_rows(model.encode(to_pixels(batch))) for batch in crops(arguments.train, 128, 16, arguments.crops, 3)]
    adaptation = list(crops(arguments.train, 64, 32, arguments.adapt_steps, seed=2)) if arguments.adapt_steps else []
    sources = [SourceConfig(path=path) for path in arguments.val]
    pictures = validation_pictures(sources, PreprocessingConfig(), ARCHITECTURE.downsample)[: arguments.val_pictures]
    return Stage(
        model,
        torch.cat(latents),
        [Example(batch, model.encode(to_pixels(batch))) for batch in adaptation],
        [Example(picture[None], model.encode(to_pixels(picture[None]))) for picture in pictures],
    )


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
    config = FitConfig(steps=steps, batch_size=arguments.fit_batch, lr=rate)
    care = CodebookCareConfig.model_validate(entry.care)
    torch.manual_seed(0)
    fit_quantizer(model, latents, latents, entry.weights, config, care, Accelerator(cpu=True), seed=0)
    return model


def best_rate(entry: Entry, latents: Tensor, arguments: argparse.Namespace) -> tuple[float, dict[str, float]]:
    """Return the learning rate with the least training distortion after a short fit, and the distortion of each."""
    rates = [share * arguments.lr for share in RATE_SHARES]
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
    place = (quantizer.vocab_size ** torch.arange(quantizer.num_codebooks)).reshape(1, -1, 1, 1)
    codes = quantizer.vocab_size**quantizer.num_codebooks
    error, counts = 0.0, torch.zeros(1, codes, dtype=torch.int64)
    for vectors in latents.split(16384):
        quantized, tokens, _ = model(as_latent(vectors))
        error += float((quantized - as_latent(vectors)).square().sum())
        counts += count_tokens((tokens * place).sum(dim=1, keepdim=True), codes)
    (usage,) = codebook_usage(counts)
    return {"distortion": error / latents.numel(), "usage": usage.usage, "perplexity": usage.perplexity}


def adapted_psnr(stage: Stage, quantized: Callable[[Tensor], Tensor]) -> float:
    """Adapt the decoder to what `quantized` makes of latents, and return the mean PSNR on held-out pictures."""
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


def as_rows(latent: Tensor) -> Tensor:
    """Return the positions of a latent as rows `n d`."""
    return rearrange(latent, "b d y x -> (b y x) d")


def spearman(x: list[float], y: list[float]) -> float | None:
    """Return Spearman's rank correlation, equal values sharing the mean of their ranks; None where one side is constant."""
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return statistics.correlation(_ranks(x), _ranks(y))


def _ranks(values: list[float]) -> list[float]:
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in values]


def results(rows: list[dict[str, Any]], settings: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Return what is written: settings, facts, correlations and rows."""
    keys = ("distortion", "usage", "perplexity")
    columns = {key: [float(row[key]) for row in rows] for key in (*keys, "psnr")}
    correlations = {key: spearman(columns[key], columns["psnr"]) for key in keys}
    return {"settings": settings, **facts, "spearman with psnr": correlations, "rows": rows}


def rows_before(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an earlier start whose entries are still the same; raise ValueError if its settings are not."""
    if not path.exists():
        return []
    before = json.loads(path.read_text())
    if before.get("settings") != settings:
        raise ValueError(f"{path} holds rows of other settings: remove it, or name another file with --out.")
    return [row for row in before["rows"] if _same(ENTRIES.get(row["name"]), row["entry"])]


def _same(entry: Entry | None, written: dict[str, Any]) -> bool:
    return entry is not None and json.loads(json.dumps(entry._asdict())) == written


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table, the least distortion first."""
    lines = [
        "| quantizer | distortion | usage | perplexity | PSNR (dB) | lr | steps | fit (s) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    line = "| {name} | {distortion:.4f} | {usage:.1%} | {perplexity:,.0f} | {psnr:.2f} | {lr:g} | {steps} | {seconds:.0f} |"
    return "\n".join(lines + [line.format(**row) for row in sorted(rows, key=lambda row: row["distortion"])])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw PSNR over distortion and over usage."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    for axis, key in zip(axes, ("distortion", "usage"), strict=True):
        for row in rows:
            axis.scatter(row[key], row["psnr"], s=16)
            axis.annotate(row["name"], (row[key], row["psnr"]), fontsize=6, xytext=(3, 2), textcoords="offset points")
        axis.set(xlabel=key)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("PSNR after decoder adaptation (dB)")
    figure.savefig(path, dpi=140)
    plt.close(figure)


def run(arguments: argparse.Namespace) -> None:
    """Make the rows that are not there yet, and write them after each."""
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("out", "only")}
    rows = rows_before(arguments.out, settings)
    stage = set_up(arguments)
    facts = {
        "bits a position": 12,
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
    parser.add_argument("--train", nargs="+", required=True, help="folders or shards of pictures")
    parser.add_argument("--val", nargs="+", required=True, help="folders or shards of other pictures")
    parser.add_argument("--out", type=Path, default=Path("results/arena.json"), help="rows; a plot goes beside it")
    parser.add_argument("--autoencoder", type=Path, default=Path("runs/arena/autoencoder.pt"), help="where it is kept")
    parser.add_argument("--autoencoder-steps", type=int, default=600)
    parser.add_argument("--crops", type=int, default=64, help="batches of 16 crops whose latents are fitted")
    parser.add_argument("--fit-steps", type=int, default=240)
    parser.add_argument("--fit-batch", type=int, default=1024, help="latents of a step")
    parser.add_argument("--adapt-steps", type=int, default=24)
    parser.add_argument("--val-pictures", type=int, default=24, help="how many pictures are measured on")
    parser.add_argument("--lr", type=float, default=5e-3, help="the greater of the learning rates that are tried")
    parser.add_argument("--only", nargs="+", choices=list(ENTRIES), metavar="NAME", help="rows to make, if not all")
    try:
        run(parser.parse_args())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
