"""Muon against AdamW on the same convolutional tokenizer, at equal root mean square of the updates.

    python scripts/muon_vs_adamw.py --train 'PHOTOS/train-{0000..0009}.tar' --val PHOTOS/val.tar

Both optimizers start from the same weights of a seed and see the same crops in the same order; the loss is the mean squared
error of pixels in [-1, 1]. Rates are the base rate times each of --rates, with the trainer's warm-up and cosine. Seconds are
CPU seconds of forward, backward and optimizer on one core in float32, without data or measurements. Every finished run is
written at once, and a run that the file has is not repeated: stop and start again as you like.
"""

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor, nn

from vistok.evaluation.metrics import psnr
from vistok.images.preprocessing import to_pixels
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.model import VisualTokenizer, build_tokenizer
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.quantizers import QUANTIZERS
from vistok.train.data.batches import training_batches
from vistok.train.data.config import DataConfig
from vistok.train.data.crops import TrainingCrops
from vistok.train.data.read_images import ImageReader
from vistok.train.data.source_images import SourceImages
from vistok.train.diagnostics.update_statistics import update_rms
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.routing import assign_parameters, build_optimizer

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

OPTIMIZERS = {"muon": "#d1495b", "adamw": "#30638e"}
"""Names and colours."""
MEASURED = 8
"""How often in a run the size of an update is measured."""
WINDOW = 20
"""Steps that a drawn or tabled loss is the mean of."""
ARCHITECTURE = ConvolutionalConfig.model_validate(
    {
        "stem": 4,
        "norm": "pixel",
        "resampling": "shuffle",
        "latent_channels": 4,
        "quantizer_convolutions": False,
        "encoder": {"channels": [64, 128], "blocks": [1, 1], "middle": False},
        "decoder": {"channels": [64, 128], "blocks": [1, 2], "middle": False},
    }
)
QUANTIZER = {"name": "fsq", "levels": [8, 8, 8, 8]}


def train(config: OptimizerConfig, seed: int, batches: list[Tensor]) -> tuple[VisualTokenizer, dict[str, Any]]:
    """Train on the batches with one optimizer, and return the model and what was seen."""
    torch.manual_seed(seed)
    model = build_tokenizer(ARCHITECTURE, parse_choice(QUANTIZERS, QUANTIZER, "quantizer")).to(
        memory_format=torch.channels_last
    )
    assignments = assign_parameters(model, config)
    optimizer = build_optimizer(assignments, config)
    matrices = model.hidden_matrices()
    hidden = [assignment.parameter for assignment in assignments if assignment.name in matrices]
    losses, seconds, sizes, in_optimizer = [], [], [], 0.0
    for step, batch in enumerate(batches, 1):
        rate = config.lr * config.lr_ratio(step, len(batches))
        for group in optimizer.param_groups:
            group["lr"] = rate
        pixels = to_pixels(batch).contiguous(memory_format=torch.channels_last)
        before = [p.detach().clone() for p in hidden] if step % max(1, len(batches) // MEASURED) == 0 else None

        started = time.process_time()
        loss = (model(pixels).pixels - pixels).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        before_optimizer = time.process_time()
        optimizer.step()
        ended = time.process_time()

        losses.append(float(loss.detach()))
        seconds.append(ended - started)
        in_optimizer += ended - before_optimizer
        if before is not None:
            sizes.append(float(update_rms(before, [p.detach() for p in hidden], rate)))
    return model, {
        "loss": [round(loss, 6) for loss in losses],
        "seconds a step": sum(seconds) / len(seconds),
        "fraction in the optimizer": in_optimizer / sum(seconds),
        "update rms": statistics.mean(sizes),
    }


@torch.inference_mode()
def validate(model: VisualTokenizer, images: list[Tensor]) -> float:
    """Return the mean PSNR in dB, in float32."""
    model.eval()
    pixels = [to_pixels(image.unsqueeze(0)) for image in images]
    return float(torch.cat([psnr(x, model(x).pixels) for x in pixels]).mean())


def table(runs: list[dict[str, Any]]) -> str:
    """Return a markdown table, mean and standard deviation over seeds."""
    lines = [
        "| optimizer | rate | seeds | training loss, end | PSNR, held out (dB) | update RMS | ms a step | of it optimizer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, rate in dict.fromkeys((run["optimizer"], run["rate"]) for run in runs):
        same = [run for run in runs if (run["optimizer"], run["rate"]) == (name, rate)]
        cells = [
            _spread([statistics.mean(run["loss"][-WINDOW:]) for run in same], "{:.5f}"),
            _spread([run["psnr"] for run in same], "{:.2f}"),
            _spread([run["update rms"] for run in same], "{:.3f}"),
            f"{1000 * statistics.mean(run['seconds a step'] for run in same):.0f}",
            f"{statistics.mean(run['fraction in the optimizer'] for run in same):.1%}",
        ]
        lines.append(f"| {name} | {rate:g} | {len(same)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float], form: str) -> str:
    deviation = f" ± {form.format(statistics.stdev(values))}" if len(values) > 1 else ""
    return form.format(statistics.mean(values)) + deviation


def plot(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw loss over steps and over seconds, the best rate in bold, and PSNR over the size of an update."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    for name, colour in OPTIMIZERS.items():
        mine = [run for run in runs if run["optimizer"] == name]
        rates = sorted({run["rate"] for run in mine})
        by_rate = {rate: [run for run in mine if run["rate"] == rate] for rate in rates}
        scores = {rate: statistics.mean(run["psnr"] for run in same) for rate, same in by_rate.items()}
        for rate, same in by_rate.items():
            loss = torch.tensor([run["loss"] for run in same]).mean(dim=0)
            window = min(WINDOW, 1 + len(loss) // 4)
            smooth = loss.unfold(0, window, 1).mean(dim=1)
            steps = torch.arange(window, len(loss) + 1)
            is_best = scores[rate] == max(scores.values())
            style = {"color": colour, "linewidth": 1.8 if is_best else 0.5, "alpha": 1.0 if is_best else 0.6}
            style |= {"label": f"{name}, rate {rate:g} (best)"} if is_best else {}
            axes[0].plot(steps, smooth, **style)
            axes[1].plot(steps * statistics.mean(run["seconds a step"] for run in same), smooth, **style)
        sizes = [rate * statistics.mean(run["update rms"] for run in same) for rate, same in by_rate.items()]
        axes[2].scatter(
            [run["rate"] * run["update rms"] for run in mine], [run["psnr"] for run in mine], color=colour, s=12
        )
        axes[2].plot(sizes, list(scores.values()), color=colour, label=name)
    labels = ("step", "CPU seconds of training, one core", "root mean square of an update at the peak rate")
    for axis, label in zip(axes, labels, strict=True):
        axis.set_xlabel(label)
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=7)
    for axis in axes[:2]:
        axis.set(yscale="log", ylabel=f"mean squared error, mean of {WINDOW} steps and all seeds")
    axes[2].set(xscale="log", ylabel="PSNR on held-out images (dB)")
    axes[2].xaxis.set_minor_formatter(NullFormatter())
    figure.savefig(path, dpi=140)
    plt.close(figure)


def main() -> None:
    """Do the runs that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", nargs="+", required=True, help="folders or shards of images")
    parser.add_argument("--val", nargs="+", required=True, help="folders or shards of other images")
    parser.add_argument("--out", type=Path, default=Path("results/muon_vs_adamw.json"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5, 1.0, 2.0], help="factors of the base rate")
    parser.add_argument("--base-lr", type=float, default=2e-3)
    parser.add_argument("--muon-rate", type=float, default=1.0, help="Muon's rate as a multiple of AdamW's")
    parser.add_argument("--warmup", type=int, default=50)
    parser.add_argument("--size", type=int, default=64, help="side of the training crops")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--val-size", type=int, default=128, help="side of the held-out images")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = {key: str(value) for key, value in vars(arguments).items() if key not in ("out", "seeds", "rates")}
    facts: dict[str, Any] = {"settings": settings, "runs": []}
    if arguments.out.exists():
        facts = json.loads(arguments.out.read_text())
        if facts["settings"] != settings:
            parser.error(f"{arguments.out} holds runs with other settings: give the same ones, or another --out.")
    sources = {"train": arguments.train, "val": arguments.val, "cached_images": 10_000}
    data = DataConfig.model_validate(sources | {"size": arguments.size, "batch_size": arguments.batch})
    preprocessing = PreprocessingConfig(size=arguments.val_size)
    entries = [entry for source in data.val for entry in SourceImages().of(source)]
    reader = ImageReader(preprocessing, ARCHITECTURE.downsample)
    images = list(reader.readable(entries, data.unreadable_limit, print))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        done = {(run["optimizer"], run["rate"]) for run in facts["runs"] if run["seed"] == seed}
        rates = [factor * arguments.base_lr for factor in arguments.rates]
        wanted = [pair for pair in itertools.product(OPTIMIZERS, rates) if pair not in done]
        if not wanted:
            continue
        # The crops of a whole run are read ahead, so that no reader disturbs the clock.
        batches = [batch.crops for batch in training_batches(TrainingCrops(data, seed), 0, arguments.steps, 0, 1)]
        for name, rate in sorted(wanted, key=lambda pair: pair[1]):
            config = OptimizerConfig.model_validate(
                {"name": name, "lr": rate, "warmup": arguments.warmup, "muon_rate": arguments.muon_rate}
            )
            model, seen = train(config, seed, batches)
            run = {"optimizer": name, "rate": rate, "seed": seed, "psnr": validate(model, images), **seen}
            facts["runs"].append(run)
            aside = arguments.out.with_suffix(".part")
            aside.write_text(json.dumps(facts) + "\n")
            os.replace(aside, arguments.out)
            print(f"{name}, rate {rate:g}, seed {seed}: {run['psnr']:.2f} dB", flush=True)
    runs = sorted(facts["runs"], key=lambda run: (run["optimizer"], run["rate"], run["seed"]))
    plot(runs, arguments.out.with_suffix(".png"))
    print(table(runs))


if __name__ == "__main__":
    main()
