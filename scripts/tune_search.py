"""Find the block sizes of the search's kernels on this GPU: the table of tokenizer/quantizers/search/kernels/blocks.py.

    python scripts/tune_search.py --seconds 120

For each width of vectors in parts and each candidate, the time of the kernel that searches the groups, by events of the
device; candidates that do not fit into shared memory are passed over. Prints one JSON line per candidate and at the end the
rows of the table, with the best over all sizes by the geometric mean of times over the fastest. No code depends on it.
"""

import argparse
import itertools
import json
import math
import time
from collections import defaultdict

import torch
import triton

from vistok.tokenizer.quantizers.search.kernels import search
from vistok.tokenizer.quantizers.search.kernels.blocks import Blocks, blocks_for, split_of, width_of
from vistok.tokenizer.quantizers.search.kernels.groups import best_groups
from vistok.tokenizer.quantizers.search.kernels.parts import prepare

DIMS = (8, 16, 32, 64, 256)
SIZES = ((4_096, 16_384), (65_536, 16_384), (4_096, 262_144))
CANDIDATES = [Blocks(*values) for values in itertools.product((64, 128), (64, 128, 256), (4, 8), (2, 3, 4))]


def seconds(vectors: torch.Tensor, codes: torch.Tensor, blocks: Blocks) -> float | None:
    """Return the median time of the kernel, or None where it does not fit."""
    n, k, width = len(vectors), len(codes), width_of(codes.shape[1])
    rows, columns = -(-n // blocks.vectors), -(-k // blocks.codes)
    parts = prepare(vectors, codes, False, width, rows * blocks.vectors, columns * blocks.codes)
    processors, _ = search._card(vectors.device)
    split = split_of(rows, len(parts.codes), blocks.codes, search.WAVES * processors)
    try:
        best_groups(parts, n, split, blocks)
    except (triton.runtime.errors.OutOfResources, triton.CompilationError, RuntimeError):
        return None  # too much shared memory, or more than the compiler knows how to do
    return (
        triton.testing.do_bench(lambda: best_groups(parts, n, split, blocks), warmup=5, rep=20, return_mode="median")
        / 1000
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="after which no further width is begun")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.seconds
    _, major = search._card(torch.device("cuda", torch.cuda.current_device()))
    for dim in DIMS:
        if time.monotonic() > until:
            break
        times: dict[Blocks, list[float]] = defaultdict(list)
        for n, k in SIZES:
            vectors, codes = torch.randn(n, dim, device="cuda"), torch.randn(k, dim, device="cuda")
            taken = {blocks: seconds(vectors, codes, blocks) for blocks in CANDIDATES}
            fitting = {blocks: found for blocks, found in taken.items() if found is not None}
            for blocks, found in fitting.items():
                times[blocks].append(found / min(fitting.values()))
                rate = 2 * n * k * width_of(dim) / found / 1e12
                line = {"dim": dim, "n": n, "k": k, "blocks": blocks, "ms": found * 1e3, "TFLOP/s": rate}
                print(json.dumps(line), flush=True)
        worst = {blocks: math.prod(ratios) ** (1 / len(ratios)) for blocks, ratios in times.items()}
        best = min(worst, key=worst.__getitem__)
        now = blocks_for(width_of(dim), major)
        print(
            f"width {width_of(dim)}: {best} at {worst[best]:.2f} of the fastest; the table's {now} at {worst.get(now)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
