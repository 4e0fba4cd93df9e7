"""Our vector quantizer against vector-quantize-pytorch's on the same tensors, and against a bare matrix product.

    pip install -e '.[test]'
    python scripts/benchmark_quantizers.py --out results/quantizers.json

For each number of latents, dimension and codebook size: seconds and peak memory of a training step (forward and backward,
moving-average codebook, straight-through gradient) and of inference, in one run. Both packages get the same float32
latents, codes, decay and smoothing, and neither revives codes; theirs searches in float32, ours by its contract in float64
where float32 cannot tell. They take turns, and a time is the median of the turns: what slows the machine down slows both.
The floor is the bare matrix product of latents and codes, once as one product into memory that is there already, and once in
the chunks that are fastest, each written over the one before, which is less than any search must do. A cell that does not fit
into --memory gigabytes, or in which theirs would take over a minute (estimated from two smaller numbers of latents), is
marked so; one in which a single search of ours would take over six seconds is left out as a whole. The plot goes beside the
JSON, and a table in Markdown is printed. On a CUDA device, where there is one, times are those between two of its events.
"""

import argparse
import ctypes
import gc
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
from torch import Tensor

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.codebooks import SMOOTHING
from vistok.tokenizer.quantizers.nearest import nearest_codes

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LATENTS = (4_096, 65_536)
DIMS = (8, 64, 256)
SIZES = (1_024, 16_384, 65_536, 262_144)
KINDS = ("training", "inference")
PRODUCTS = ("product", "product in chunks")
PRODUCT_CHUNKS = ((256, 1_024), (256, 4_096), (512, 1_024), (1_024, 1_024), (4_096, 4_096))
LONGEST_CELL = 60.0
LONGEST_SEARCH = 6.0
SHORT = 2.0
TURNS = 5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

Result = dict[str, float] | None


def measured(works: dict[str, Callable[[], object]]) -> dict[str, Result]:
    """Return seconds (median) and peak bytes beyond what was there before of each; None where memory does not suffice.

    All take turns, but for those of two seconds and more, which run once.
    """
    peaks, times = {}, {}
    for name, work in works.items():
        try:
            peaks[name] = _peak_bytes(work)
            times[name] = [_seconds(work)]
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
        _tidy()
    for _ in range(TURNS - 1):
        for name, taken in times.items():
            if taken[0] < SHORT:
                taken.append(_seconds(works[name]))
    return {
        name: {"seconds": statistics.median(times[name]), "bytes": peaks[name]} if name in times else None
        for name in works
    }


def _out_of_memory(error: Exception) -> bool:
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _tidy() -> None:
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()


def _seconds(work: Callable[[], object]) -> float:
    if DEVICE.type == "cuda":
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        work()
        stop.record()
        torch.cuda.synchronize()
        return start.elapsed_time(stop) / 1000
    started = time.perf_counter()
    work()
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


def product(vectors: Tensor, codes: Tensor, rows: int, columns: int) -> None:
    """Do the matrix product of a search and nothing else, in parts that are written one over the other."""
    space = torch.empty(min(rows, len(vectors)) * min(columns, len(codes)), device=DEVICE)
    for part in vectors.split(rows):
        for table in codes.split(columns):
            torch.mm(table, part.T, out=space[: len(table) * len(part)].view(len(table), len(part)))


def search_and_product(vectors: Tensor, codes: Tensor) -> dict[str, Result]:
    """Measure our search, the product in one, and the product in the chunks that are fastest."""
    works: dict[str, Callable[[], object]] = {"search": lambda: nearest_codes(vectors, codes)}
    try:
        space = torch.zeros(len(vectors), len(codes), device=DEVICE)
        works["product"] = lambda: torch.mm(vectors, codes.T, out=space)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
    for chunk in PRODUCT_CHUNKS:
        works[f"{chunk}"] = lambda chunk=chunk: product(vectors, codes, *chunk)
    results = measured(works)
    whole = {name: results.pop(name, None) for name in ("search", "product")}
    fitting = [result for result in results.values() if result is not None]
    return whole | {"product in chunks": min(fitting, key=lambda result: result["seconds"], default=None)}


def cell(count: int, dim: int, size: int) -> dict[str, object]:
    """Measure one row of the table; it is left out when that would take minutes."""
    latent = torch.randn(1, dim, 1, count, device=DEVICE)
    rows = latent[:, :, 0].transpose(1, 2).contiguous()
    row: dict[str, object] = {"latents": count, "dim": dim, "codes": size}
    ours = build_quantizer({"name": "ema", "dim": dim, "codebook_size": size}).to(DEVICE)
    codes = ours.codebook.codes().clone()
    theirs = vqt.VectorQuantize(
        *(dim, size), decay=ours.config.decay, eps=SMOOTHING, rotation_trick=False, threshold_ema_dead_code=0
    ).to(DEVICE)
    for buffer in (theirs._codebook.embed, theirs._codebook.embed_avg):
        buffer.data.copy_(codes)
    if (seconds := estimated(lambda given: nearest_codes(given[0], codes), rows)) > LONGEST_SEARCH:
        return row | {"left out": f"a search takes about {seconds:.0f} s"}
    row |= search_and_product(rows[0], codes)
    do = {
        "training": (lambda: step(ours.train(), latent), lambda given: step(theirs.train(), given)),
        "inference": (lambda: infer(ours.eval(), latent), lambda given: infer(theirs.eval(), given)),
    }
    left_out = []
    for kind, (our_work, their_work) in do.items():
        works = {kind: our_work}
        estimate = estimated(their_work, rows)
        if estimate > LONGEST_CELL:
            left_out.append(f"{kind} of theirs would take about {estimate:.0f} s")
        else:
            works[f"their {kind}"] = lambda work=their_work: work(rows)
        row |= measured(works)
    if left_out:
        row["left out"] = "; ".join(left_out)
    return row


def estimated(work: Callable[[Tensor], object], rows: Tensor) -> float:
    """Return about how many seconds the work takes with all rows, from two small numbers of them; 0 if these do not fit."""
    counts = [max(1, rows.shape[1] // part) for part in (16, 8)]
    results = measured({str(count): lambda count=count: work(rows[:, :count].contiguous()) for count in counts})
    if None in results.values() or counts[0] == counts[1]:
        return 0.0
    few, more = (results[str(count)]["seconds"] for count in counts)
    slope = max(0.0, (more - few) / (counts[1] - counts[0]))
    return more + slope * (rows.shape[1] - counts[1])


def ratios(row: dict[str, object]) -> dict[str, float | str]:
    """Return theirs over ours, for time and memory, and our search over the bare product."""
    found: dict[str, float | str] = {}
    for product_kind in PRODUCTS:
        if row[product_kind] and row["search"]:
            found[f"search to {product_kind}"] = row["search"]["seconds"] / row[product_kind]["seconds"]
    for kind in KINDS:
        ours, theirs = row[kind], row.get(f"their {kind}", "left out")
        if ours is None:
            found[kind] = "ours does not fit"
        elif theirs == "left out":
            found[kind] = "left out"
        elif theirs is None:
            found[kind] = "does not fit"
        else:
            found[f"{kind} time"] = theirs["seconds"] / ours["seconds"]
            found[f"{kind} memory"] = theirs["bytes"] / max(ours["bytes"], 4096.0)
    return found


def markdown(rows: list[dict[str, object]]) -> str:
    """Return the table for RESULTS.md."""
    lines = [
        "| latents | d | codes | training, ms | times faster | times less memory | inference, ms | times faster "
        "| times less memory | search to product | search to product in chunks |",
        "|" + "---:|" * 11,
    ]
    for row in rows:
        cells = [f"{row['latents']:,}", str(row["dim"]), f"{row['codes']:,}"]
        for kind in KINDS:
            cells.append(f"{row[kind]['seconds'] * 1000:,.1f}" if row[kind] else "does not fit")
            for ratio in ("time", "memory"):
                value = row["ratios"].get(f"{kind} {ratio}", row["ratios"].get(kind))
                if value == "left out":
                    seconds = next(part for part in row["left out"].split("; ") if part.startswith(kind))
                    value = f"left out ({seconds.split('about ')[1]})"
                cells.append(value if isinstance(value, str) else f"{value:,.1f}")
        for product_kind in PRODUCTS:
            floor_ratio = row["ratios"].get(f"search to {product_kind}")
            cells.append("does not fit" if floor_ratio is None else f"{floor_ratio:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Draw how many times faster ours is, over the codebook size."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, kind in zip(axes, KINDS, strict=True):
        for count in sorted({row["latents"] for row in rows}):
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
    if axes[1].lines[1:]:
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
                is_whole = "search" in row
                row["ratios"] = ratios(row) if is_whole else {}
                rows.append(row)
                shown = {k: round(v, 2) if isinstance(v, float) else v for k, v in row["ratios"].items()}
                print(f"{count:>6} x {dim:>3} to {size:>7}: {shown if is_whole else row['left out']}", flush=True)
                write(arguments.out, rows, arguments.memory)
    print(markdown([row for row in rows if "search" in row]))


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
