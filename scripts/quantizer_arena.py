"""Every quantizer on the same frozen latents at equal bits, then the decoder alone adapted to each.

    python scripts/quantizer_arena.py --train 'PHOTOS/train-{0000..0009}.tar' --val PHOTOS/val.tar --out results/arena.json

One autoencoder without a quantizer is trained first, and its standardised latents are kept. Every quantizer is fitted to
them for the same number of steps; those whose codes have another dimension get a linear map in and out. Distortion is the
mean squared error a channel on held-out latents, of variance 1; usage and perplexity are over the held-out tokens.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vistok.images.preprocessing import to_pixels
from vistok.inference.forward import cpu_multiplies_bfloat16
from vistok.tokenizer.convolutional import ConvolutionalConfig, Decoder, Encoder
from vistok.tokenizer.metrics import psnr
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.care import initialise_codes, revive_codes
from vistok.tokenizer.quantizers.vector import VectorQuantizer
from vistok.tokenizer.usage import codebook_usage, count_tokens
from vistok.train.codebook_care import forget_rows
from vistok.train.data import DataConfig, training_batches
from vistok.train.optimizer import OptimizerConfig, build_optimizer, claim_parameters
from vistok.train.schedule import learning_rate
from vistok.train.validate import validation_pictures

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DIM = 16
CODES = 4096
BATCH = 8192
REVIVE_EVERY = 50
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
    """One row: a quantizer and how it is fitted."""

    values: dict[str, object]
    weights: dict[str, float] = {"codebook": 1.0, "commitment": 0.0}
    """Weights of its loss terms; the latents are frozen, so the commitment has nothing to pull."""
    kmeans: bool = False
    revive: bool = False


def _vq(**more: object) -> dict[str, object]:
    return {"name": "vq", "dim": DIM, "codebook_size": CODES, **more}


def _simvq(**more: object) -> dict[str, object]:
    return {"name": "simvq", "dim": DIM, "codebook_size": CODES, **more}


RECONSTRUCTION = {"reconstruction": 1.0}
SMALL = 1e-3
ENTRIES: dict[str, Entry] = {
    "VQ, small init": Entry(_vq(initial_scale=SMALL)),
    "VQ": Entry(_vq()),
    "VQ, k-means init": Entry(_vq(), kmeans=True),
    "VQ, small init, revival": Entry(_vq(initial_scale=SMALL), revive=True),
    "VQ, small init, Wasserstein": Entry(
        _vq(initial_scale=SMALL, distribution="wasserstein"), {"codebook": 1.0, "commitment": 0.0, "wasserstein": 0.1}
    ),
    "VQ, small init, MMD": Entry(
        _vq(initial_scale=SMALL, distribution="mmd"), {"codebook": 1.0, "commitment": 0.0, "mmd": 1.0}
    ),
    "VQ, small init, region": Entry(
        _vq(initial_scale=SMALL, region=True), {"codebook": 1.0, "commitment": 0.0, "region": 0.1}
    ),
    "VQ, small init, soft top-4": Entry(
        _vq(initial_scale=SMALL, soft={"k": 4, "temperature": 1.0}),
        {"codebook": 1.0, "commitment": 0.0, "reconstruction": 1.0},
    ),
    "VQ, DiVeQ": Entry(_vq(gradient="diveq"), RECONSTRUCTION | {"codebook": 0.0, "commitment": 0.0}),
    "EMA, small init": Entry(
        {"name": "ema", "dim": DIM, "codebook_size": CODES, "initial_scale": SMALL}, {"commitment": 0.0}
    ),
    "EMA, k-means init, revival": Entry(
        {"name": "ema", "dim": DIM, "codebook_size": CODES}, {"commitment": 0.0}, kmeans=True, revive=True
    ),
    "SimVQ": Entry(_simvq()),
    "SimVQ, diagonal": Entry(_simvq(projection="diagonal")),
    "SimVQ, MLP": Entry(_simvq(projection="mlp")),
    "SimVQ, trained basis": Entry(_simvq(trained_basis=True)),
    "FVQ": Entry({"name": "fvq", "dim": DIM, "codebook_size": CODES}),
    "VQ, cosine, d = 8": Entry(
        {"name": "vq", "dim": 8, "codebook_size": CODES, "similarity": "cosine"},
        RECONSTRUCTION | {"codebook": 1.0, "commitment": 0.25},
    ),
    "IBQ": Entry(
        {"name": "ibq", "dim": DIM, "codebook_size": CODES, "entropy_temperature": None},
        RECONSTRUCTION | {"codebook": 1.0, "commitment": 0.25, "assignment": 1.0},
    ),
    "FSQ [8, 8, 8, 8]": Entry({"name": "fsq", "levels": [8, 8, 8, 8]}, RECONSTRUCTION),
    "FSP [8, 8, 8, 8]": Entry({"name": "fsp", "levels": [8, 8, 8, 8]}, RECONSTRUCTION | {"moments": 0.1}),
    "LFQ, 12 bits": Entry(
        {"name": "lfq", "dim": 12},
        RECONSTRUCTION | {"commitment": 0.25, "sample_entropy": 0.01, "codebook_entropy": 0.01},
    ),
    "BSQ, 12 bits": Entry(
        {"name": "bsq", "dim": 12},
        RECONSTRUCTION | {"commitment": 0.25, "sample_entropy": 0.01, "codebook_entropy": 0.01},
    ),
    "residual, 2 x 64": Entry(
        {"name": "residual", "depth": 2, "quantizer": {"name": "vq", "dim": DIM, "codebook_size": 64}},
        {"codebook": 1.0, "commitment": 0.0},
    ),
    "grouped, 2 x 64": Entry(
        {"name": "grouped", "groups": 2, "quantizer": {"name": "vq", "dim": DIM // 2, "codebook_size": 64}},
        {"codebook": 1.0, "commitment": 0.0},
    ),
}


class Fitted(nn.Module):
    """A quantizer between linear maps, which are the identity where the dimensions agree."""

    def __init__(self, quantizer: nn.Module):
        super().__init__()
        same = quantizer.dim == DIM
        self.into = nn.Identity() if same else nn.Conv2d(DIM, quantizer.dim, 1)
        self.quantizer = quantizer
        self.out = nn.Identity() if same else nn.Conv2d(quantizer.dim, DIM, 1)

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        quantized, tokens, losses = self.quantizer(self.into(latent))
        return self.out(quantized), tokens, losses


def fit(entry: Entry, latents: Tensor, steps: int, rate: float) -> Fitted:
    """Fit one quantizer to latents `n d` with Adam, the rate falling to 0 along a cosine."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Fitted(build_quantizer(entry.values))
    quantizer = model.quantizer
    if entry.kmeans:
        assert isinstance(quantizer, VectorQuantizer)
        initialise_codes(quantizer.codebook, latents[: 16 * CODES], 10, generator)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.95)) if parameters else None
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if optimizer else None
    counts = torch.zeros(quantizer.num_codebooks, quantizer.vocab_size, dtype=torch.int64)
    for step in range(1, steps + 1):
        vectors = latents[torch.randint(len(latents), (BATCH,), generator=generator)]
        latent = rearrange(vectors, "(b x) d -> b d 1 x", b=8).requires_grad_()
        quantized, tokens, losses = model(latent)
        if "reconstruction" in entry.weights:
            losses["reconstruction"] = (quantized - latent.detach()).square().mean()
        total = torch.stack([entry.weights[name] * loss for name, loss in losses.items()]).sum()
        if optimizer and schedule:
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            schedule.step()
        counts += count_tokens(tokens, quantizer.vocab_size)
        if entry.revive and step % REVIVE_EVERY == 0 and step <= 0.8 * steps:
            assert isinstance(quantizer, VectorQuantizer)
            revived = revive_codes(quantizer.codebook, counts[0], vectors, generator)
            for parameter in quantizer.codebook.row_parameters():
                if optimizer:
                    forget_rows(optimizer, parameter, revived)
            counts.zero_()
    return model.eval().requires_grad_(False)


def measure(model: Fitted, latents: Tensor) -> dict[str, float]:
    """Return distortion, usage and perplexity on held-out latents `n d`."""
    counts = torch.zeros(model.quantizer.num_codebooks, model.quantizer.vocab_size, dtype=torch.int64)
    error = 0.0
    for vectors in latents.split(16 * BATCH):
        latent = rearrange(vectors, "n d -> 1 d 1 n")
        quantized, tokens, _ = model(latent)
        error += float((quantized - latent).square().sum())
        counts += count_tokens(tokens, model.quantizer.vocab_size)
    usages = codebook_usage(counts)
    return {
        "distortion": error / latents.numel(),
        "usage": sum(usage.usage for usage in usages) / len(usages),
        "perplexity": sum(usage.perplexity for usage in usages) / len(usages),
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


def crops(train: list[str], size: int, batch: int, steps: int, seed: int) -> DataLoader[Tensor]:
    """Return uint8 batches of random crops."""
    data = DataConfig.model_validate({"train": train, "size": size, "batch_size": batch, "cached_pictures": 10_000})
    return training_batches(data, seed, 0, steps, 0, 1)


def optimise(
    model: nn.Module,
    config: OptimizerConfig,
    batches: DataLoader[Tensor],
    encode: Callable[[Tensor], Tensor],
) -> None:
    """Descend the mean squared error of `model.decode(encode(pixels))` over the batches."""
    optimizer = build_optimizer(claim_parameters(model, config), config)
    for step, batch in enumerate(batches, 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, len(batches), config)
        pixels = to_pixels(batch).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=cpu_multiplies_bfloat16()):
            answer = model.decode(encode(pixels))
        loss = (answer.float() - pixels).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def autoencoder(train: list[str], steps: int, cache: Path) -> Autoencoder:
    """Train the autoencoder, or read it from `cache`."""
    torch.manual_seed(0)
    model = Autoencoder().to(memory_format=torch.channels_last)
    if cache.exists():
        model.load_state_dict(torch.load(cache, weights_only=True))
        return model.eval().requires_grad_(False)
    config = OptimizerConfig(lr=2e-3, warmup=100)
    optimise(model, config, crops(train, 64, 32, steps, seed=0), model.encode)
    model.eval().requires_grad_(False)
    raw = torch.cat([model.encoder(to_pixels(batch)) for batch in crops(train, 128, 16, 40, seed=1)])
    model.mean.copy_(raw.mean(dim=(0, 2, 3), keepdim=True))
    model.deviation.copy_(raw.std(dim=(0, 2, 3), keepdim=True))
    cache.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), cache)
    return model


def adapted_psnr(model: Autoencoder, fitted: Fitted, train: list[str], steps: int, pictures: list[Tensor]) -> float:
    """Adapt the decoder to the quantized latents, and return the mean PSNR on held-out pictures."""
    twin = copy.deepcopy(model)
    twin.decoder.requires_grad_(True)

    @torch.no_grad()
    def quantized(pixels: Tensor) -> Tensor:
        return fitted(twin.encode(pixels).float())[0]

    if steps:
        optimise(twin, OptimizerConfig(lr=5e-4, warmup=10), crops(train, 64, 32, steps, seed=2), quantized)
    with torch.inference_mode():
        pixels = [to_pixels(picture.unsqueeze(0)) for picture in pictures]
        return float(torch.cat([psnr(x, twin.decode(quantized(x))) for x in pixels]).mean())


def plot(rows: list[dict[str, object]], path: Path) -> None:
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


def ranks(rows: list[dict[str, object]], key: str) -> float:
    """Return Spearman's rank correlation of a figure with the PSNR."""
    order = [torch.tensor([float(row[name]) for row in rows]).argsort().argsort().double() for name in (key, "psnr")]  # type: ignore[arg-type]
    return float(torch.corrcoef(torch.stack(order))[0, 1])


def main() -> None:
    """Run the arena."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True, help="folders or shards of pictures")
    parser.add_argument("--val", nargs="+", required=True, help="folders or shards of other pictures")
    parser.add_argument("--out", type=Path, default=Path("results/arena.json"))
    parser.add_argument("--autoencoder", type=Path, default=Path("runs/arena/autoencoder.pt"), help="where it is kept")
    parser.add_argument("--autoencoder-steps", type=int, default=1500)
    parser.add_argument("--fit-steps", type=int, default=600)
    parser.add_argument("--adapt-steps", type=int, default=60)
    parser.add_argument("--lr", type=float, default=5e-3)
    arguments = parser.parse_args()
    model = autoencoder(arguments.train, arguments.autoencoder_steps, arguments.autoencoder)
    pictures = validation_pictures(arguments.val, PreprocessingConfig())
    with torch.inference_mode():
        batches = crops(arguments.train, 128, 16, 80, seed=3)
        latents = torch.cat([_rows(model.encode(to_pixels(batch))) for batch in batches])
        held_out = torch.cat([_rows(model.encode(to_pixels(picture.unsqueeze(0)))) for picture in pictures])
    rows: list[dict[str, object]] = []
    for name, entry in ENTRIES.items():
        started = time.perf_counter()
        fitted = fit(entry, latents.clone(), arguments.fit_steps, arguments.lr)
        seconds = time.perf_counter() - started
        row: dict[str, object] = {"name": name, **measure(fitted, held_out), "seconds": seconds}
        row["psnr"] = adapted_psnr(model, fitted, arguments.train, arguments.adapt_steps, pictures)
        rows.append(row)
        print(_line(row), flush=True)
    unquantized = adapted_psnr(model, Fitted(_Unquantized()), arguments.train, arguments.adapt_steps, pictures)
    facts = {
        "settings": {k: str(v) for k, v in vars(arguments).items()},
        "bits a token": 12,
        "latents": len(latents),
        "held-out latents": len(held_out),
        "psnr without a quantizer": unquantized,
        "spearman with psnr": {key: ranks(rows, key) for key in ("distortion", "usage", "perplexity")},
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n")
    plot(rows, arguments.out.with_suffix(".png"))
    print({key: value for key, value in facts.items() if key not in ("rows", "settings")})


class _Unquantized(nn.Module):
    """Passes the latent on, for the row that no quantizer can reach."""

    dim = DIM

    def forward(self, latent: Tensor) -> tuple[Tensor, None, dict[str, Tensor]]:
        return latent, None, {}


def _rows(latent: Tensor) -> Tensor:
    return rearrange(latent, "b d y x -> (b y x) d")


def _line(row: dict[str, object]) -> str:
    return "| {name} | {distortion:.4f} | {usage:.1%} | {perplexity:,.0f} | {psnr:.2f} | {seconds:.0f} |".format(**row)


if __name__ == "__main__":
    main()
