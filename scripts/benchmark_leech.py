"""The search among the 196,560 codes of the Leech lattice: by their structure against the search of a table.

    python scripts/benchmark_leech.py

Both get the same latents, uniform on the sphere, and find the same codes, which is checked. Times are medians of turns that
they take; bytes are the peak beyond what was there before, in which the table itself (19 MB) is not counted. On one core of a
CPU that did other work too, the table took 3.8 to 6.1 times as long (a latent 0.12 to 0.3 ms by structure).
"""

import argparse
import json

import torch

from quantizer_benchmark.measuring import DEVICE, measured
from vistok.tokenizer.quantizers.lattice.leech_vectors import DIM, LeechVectors
from vistok.tokenizer.quantizers.scale import on_unit_sphere
from vistok.tokenizer.quantizers.search.nearest import nearest_codes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, nargs="+", default=[1_024, 16_384])
    lattice = LeechVectors().to(DEVICE)
    table = lattice.codes(torch.arange(lattice.count, device=DEVICE))
    for count in parser.parse_args().latents:
        vectors = on_unit_sphere(torch.randn(count, DIM, device=DEVICE))
        assert torch.equal(lattice.nearest(vectors), nearest_codes(vectors, table, "cosine"))
        results = measured(
            {
                "structure": lambda vectors=vectors: lattice.nearest(vectors),
                "table": lambda vectors=vectors: nearest_codes(vectors, table, "cosine"),
            }
        )
        ratios = {key: results["table"][key] / max(results["structure"][key], 1e-9) for key in ("seconds", "bytes")}
        print(json.dumps({"latents": count, **results, "table to structure": ratios}))


if __name__ == "__main__":
    main()
