"""Our vector quantizer against vector-quantize-pytorch's on the same tensors, and against a bare matrix product.

    pip install -e '.[test]'
    python scripts/benchmark_quantizers.py --out results/quantizers.json

For each number of latents, dimension and codebook size: seconds and peak memory of a training step (forward and backward,
moving-average codebook, straight-through gradient) and of inference, in one run. A cell that does not fit into --memory
gigabytes is marked so. The plot goes beside the JSON. On a CUDA device, where there is one, times are CUDA's own.
"""

import argparse
import ctypes
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import torch
import vector_quantize_pytorch as vqt
from einops import rearrange
from torch import Tensor

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.nearest import nearest_codes

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LATENTS = (4_096, 65_536)
DIMS = (8, 64, 256)
SIZES = (1_024, 16_384, 65_536, 262_144)
LONGEST_CELL = 60.0
SHORT = 2.0
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def measured(work: Callable[[], object]) -> dict[str, float] | None:
    """Return seconds (median) and peak bytes beyond what was there before; None when memory does not suffice."""
    try:
        peak = _peak_bytes(work)
        first = _seconds(work)
        times = [first, *(_seconds(work) for _ in range(4 if first < SHORT else 0))]
    except (RuntimeError, MemoryError) as error:
        if "memory" not in str(error).lower():
            raise
        return None
    return {"seconds": statistics.median(times), "bytes": peak}


def _seconds(work: Callable[[], object]) -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _peak_bytes(work: Callable[[], object]) -> float:
    if DEVICE.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
    before = _status("VmRSS")
    work()
    return max(0.0, _status("VmHWM") - before)


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name))) * 1024


def step(quantizer: Callable[[Tensor], tuple[Tensor, ...]], latent: Tensor) -> None:
    """Do a forward and a backward pass."""
    leaf = latent.detach().requires_grad_()
    quantized, _, losses = quantizer(leaf)
    total = quantized.square().mean()
    total = total + (sum(losses.values()) if isinstance(losses, dict) else losses.sum())
    total.backward()


@torch.inference_mode()
def infer(quantizer: Callable[[Tensor], object], latent: Tensor) -> None:
    """Find the codes."""
    quantizer(latent)


def product(vectors: Tensor, codes: Tensor) -> None:
    """Do the matrix product of a search and nothing else, in parts that fit into memory."""
    for part in vectors.split(max(1, (1 << 26) // len(codes))):
        part @ codes.T


def cell(count: int, dim: int, size: int) -> dict[str, object]:
    """Measure one row of the table."""
    side = int(count**0.5)
    latent = torch.randn(1, dim, side, side, device=DEVICE)
    rows = rearrange(latent, "b d y x -> b (y x) d").contiguous()
    row: dict[str, object] = {"latents": count, "dim": dim, "codes": size}
    ours = build_quantizer({"name": "ema", "dim": dim, "codebook_size": size}).to(DEVICE)
    codes = ours.codebook.codes()
    row["product"] = measured(lambda: product(rows[0], codes))
    row["search"] = measured(lambda: nearest_codes(rows[0], codes))
    row["training"] = measured(lambda: step(ours.train(), latent))
    row["inference"] = measured(lambda: infer(ours.eval(), latent))
    # A first estimate of theirs from a sixteenth of the latents, so that hopeless cells are not waited for.
    theirs = vqt.VectorQuantize(dim, size, rotation_trick=False, threshold_ema_dead_code=0).to(DEVICE)
    few = rows[:, : count // 16].contiguous()
    estimate = measured(lambda: step(theirs.train(), few))
    if estimate is not None and estimate["seconds"] * 16 > LONGEST_CELL:
        row["left out"] = f"a training step of theirs would take about {estimate['seconds'] * 16:.0f} s"
        return row
    row["their training"] = measured(lambda: step(theirs.train(), rows))
    row["their inference"] = measured(lambda: infer(theirs.eval(), rows))
    return row


def ratios(row: dict[str, object]) -> dict[str, float | str]:
    """Return theirs over ours, for time and memory, and our search over the bare product."""
    found: dict[str, float | str] = {}
    if row["product"] and row["search"]:
        found["search to product"] = row["search"]["seconds"] / row["product"]["seconds"]
    for kind in ("training", "inference"):
        ours, theirs = row[kind], row.get(f"their {kind}", "left out")
        if theirs == "left out":
            found[kind] = "left out"
        elif theirs is None:
            found[kind] = "does not fit"
        else:
            found[f"{kind} time"] = theirs["seconds"] / ours["seconds"]
            found[f"{kind} memory"] = theirs["bytes"] / max(ours["bytes"], 4096.0)
    return found


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Draw how many times faster ours is, over the codebook size."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, kind in zip(axes, ("training", "inference"), strict=True):
        for count in LATENTS:
            for dim in DIMS:
                points = [
                    (row["codes"], row["ratios"][f"{kind} time"])
                    for row in rows
                    if (row["latents"], row["dim"]) == (count, dim) and f"{kind} time" in row["ratios"]
                ]
                if points:
                    axis.loglog(*zip(*points, strict=True), marker="o", label=f"{count:,} latents, d = {dim}")
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set(title=kind, xlabel="codes")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("times faster than\nvector-quantize-pytorch")
    axes[1].legend(fontsize=7)
    figure.savefig(path, dpi=140)


def main() -> None:
    """Run the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/quantizers.json"))
    parser.add_argument("--memory", type=float, default=12.0, help="gigabytes a cell may take on a CPU")
    parser.add_argument("--latents", type=int, nargs="+", default=LATENTS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    if DEVICE.type == "cpu":
        held = int(
            next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line).split()[1]
        )
        limit = held * 1024 + int(arguments.memory * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    rows = []
    for count in arguments.latents:
        for dim in DIMS:
            for size in arguments.sizes:
                row = cell(count, dim, size)
                row["ratios"] = ratios(row)
                rows.append(row)
                shown = {k: round(v, 2) if isinstance(v, float) else v for k, v in row["ratios"].items()}
                print(f"{count:>6} x {dim:>3} to {size:>7}: {shown}", flush=True)
                write(arguments.out, rows, arguments.memory)


def write(path: Path, rows: list[dict[str, object]], memory: float) -> None:
    """Write the rows that are there, and their plot beside them."""
    facts = {
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "memory limit in GB": memory if DEVICE.type == "cpu" else None,
        "rows": rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n")
    plot(rows, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
