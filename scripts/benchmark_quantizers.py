"""Our vector quantizer against vector-quantize-pytorch's on the same tensors, and against a bare matrix product.

    pip install -e '.[test]'
    python scripts/benchmark_quantizers.py --out results/quantizers.json

For each number of latents, dimension and codebook size: seconds and peak memory of a training step (forward and backward,
moving-average codebook, straight-through gradient) and of inference, in one run. Both packages get the same float32 latents,
codes, decay and smoothing, and neither revives codes; in inference ours resolves in float64 what its search cannot. They take
turns, and a time is the median of the turns: what slows the machine down slows both.

The floor is the bare matrix product of latents and codes in full float32: once as one product into allocated memory, and once
in the fastest chunks, each written over the last. On a CPU that is less than any search must do.

A cell is marked when it does not fit into --memory gigabytes, or when theirs would take over a minute (estimated from two
smaller numbers of latents). It is left out when a single search of ours would take over six seconds. The plot goes beside the
JSON, and a table in Markdown is printed.

On a CUDA device times are those between two of its events, with the device idle before: a search at 4,096 x 1,024 shows what a
call costs.
"""

import argparse
import json
import platform
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quantizer_benchmark.measuring import DEVICE, Result, measured, out_of_memory
from quantizer_benchmark.table import markdown, plot, ratios
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.search.nearest import nearest_codes

try:
    import vector_quantize_pytorch as vqt
except ImportError:  # then only the product is compared with
    vqt = None

LATENTS = (4_096, 65_536)
DIMS = (8, 64, 256)
SIZES = (1_024, 16_384, 65_536, 262_144)
PRODUCT_CHUNKS = {
    "cpu": ((256, 1_024), (256, 4_096), (512, 1_024), (1_024, 1_024), (4_096, 4_096)),
    "cuda": ((4_096, 16_384), (4_096, 65_536), (16_384, 16_384)),
}
LONGEST_CELL = 60.0
LONGEST_SEARCH = 6.0


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
        if not out_of_memory(error):
            raise
    for chunk in PRODUCT_CHUNKS[DEVICE.type]:
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
    theirs = their_quantizer(codes, ours.config.decay)
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
        if theirs is None:
            left_out.append(f"{kind} of theirs, which is not installed")
            row |= measured(works)
            continue
        estimate = estimated(their_work, rows)
        if estimate > LONGEST_CELL:
            left_out.append(f"{kind} of theirs would take about {estimate:.0f} s")
        else:
            works[f"their {kind}"] = lambda work=their_work: work(rows)
        row |= measured(works)
    if left_out:
        row["left out"] = "; ".join(left_out)
    return row


def their_quantizer(codes: Tensor, decay: float) -> Any:
    """Return their quantizer with the same codes; None where the package is not installed."""
    if vqt is None:
        return None
    size, dim = codes.shape
    theirs = vqt.VectorQuantize(dim, size, decay=decay, rotation_trick=False, threshold_ema_dead_code=0).to(DEVICE)
    for buffer in (theirs._codebook.embed, theirs._codebook.embed_avg):
        buffer.data.copy_(codes)
    return theirs


def estimated(work: Callable[[Tensor], object], rows: Tensor) -> float:
    """Return about how many seconds the work takes with all rows, from two small numbers of them; 0 if these do not fit."""
    counts = [max(1, rows.shape[1] // part) for part in (16, 8)]
    results = measured({str(count): lambda count=count: work(rows[:, :count].contiguous()) for count in counts})
    if None in results.values() or counts[0] == counts[1]:
        return 0.0
    few, more = (results[str(count)]["seconds"] for count in counts)
    slope = max(0.0, (more - few) / (counts[1] - counts[0]))
    return more + slope * (rows.shape[1] - counts[1])


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
    # A run that is broken off leaves the results before it as they are.
    unfinished = arguments.out.with_name(f"{arguments.out.stem}-unfinished.json")
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
                write(unfinished, rows, arguments.memory)
    for suffix in (".json", ".png"):
        unfinished.with_suffix(suffix).replace(arguments.out.with_suffix(suffix))
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
