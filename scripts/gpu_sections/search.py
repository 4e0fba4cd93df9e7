"""Our quantizer against vector-quantize-pytorch's, and our search against a bare product, in the cells of the benchmark."""

import benchmark_quantizers

from quantizer_benchmark.table import ratios

from .check import Check

SMALL = [(64, 8, 256)]


def run(check: Check) -> None:
    """Measure cell after cell, the small ones first."""
    if benchmark_quantizers.vqt is None:
        check.write("vector-quantize-pytorch", skipped="it is not installed, so only the product is compared with")
    sizes = (1_024, 16_384, 262_144)
    cells = [
        (n, dim, size) for size in sizes for n in benchmark_quantizers.LATENTS for dim in benchmark_quantizers.DIMS
    ]
    for count, dim, size in SMALL if check.is_small else cells:
        with check.attempt(f"{count} x {dim} to {size}"):
            row = benchmark_quantizers.cell(count, dim, size)
            compared = ratios(row) if "search" in row else {}
            found = row.get("search") or {}
            facts = {"value": found.get("seconds"), "unit": "s", "ratios": compared, "left_out": row.get("left out")}
            check.write(f"{count} x {dim} to {size}", latents=count, dim=dim, codes=size, **facts)
