"""How many rows of a nearest-code search are in doubt, and how far scores are off, by how float32 is multiplied.

    python scripts/split_products.py --out results/split_products.json

A row is in doubt where best and runner-up are no further apart than twice the bound on the error; float64 then decides.
Schemes: float32; a value in one, two or three bfloat16 parts (1, 3 and 6 products), as in tensor cores; float16 in two parts,
scaled. Latents and codes: Gaussians; photo-f8's latents with its own grid, and with codes that k-means fits to them; codes of
LlamaGen's size (16,384 x 8, cosine) and of Emu3.5's (131,072 x 256, dot), drawn at random.

For each, `worst` is the largest error found, divided by |z| |c| + |offset|; `of bound` is the largest, divided by the bound for
its row. `doubt` is the fraction of rows in doubt, where best and runner-up are codes (float32) or groups of codes. Sums are in
float32 here; the bounds are those of tensor cores. The kernels compare the codes of the two best groups in float64, and search
a row again where a third group could have the nearest: `searched again`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import vistok
from vistok.tokenizer.quantizers.scale import on_unit_sphere
from vistok.tokenizer.quantizers.search.kernels import rounding
from vistok.tokenizer.quantizers.search.kernels.blocks import GROUP
from vistok.tokenizer.quantizers.vector.kmeans import kmeans

PHOTOS = Path(__file__).parents[1] / "tests" / "photos"
HALF, DROPPED = 2**-24, {1: 2.01 * 2**-8, 2: rounding.SPLIT, 3: 5.05 * 2**-24}
FLOAT16 = 3.02 * 2**-22
LANES = 16
KEPT = {1: ((0, 0),), 2: ((1, 0), (0, 1), (0, 0)), 3: ((2, 0), (0, 2), (1, 1), (1, 0), (0, 1), (0, 0))}


def parts_of(values: Tensor, count: int, dtype: torch.dtype) -> list[Tensor]:
    """Return values as a sum of `count` parts, each in float32."""
    parts = []
    for _ in range(count):
        parts.append(values.to(dtype).float())
        values = values - parts[-1]
    return parts


def product(count: int, dtype: torch.dtype = torch.bfloat16) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that multiplies in `count` parts, all of them scaled to the range of float16 where that is the type."""

    def multiply(z: Tensor, c: Tensor) -> Tensor:
        scale = 2.0**10 / max(float(z.abs().max()), float(c.abs().max())) if dtype == torch.float16 else 1.0
        z_parts, c_parts = (parts_of(values * scale, count, dtype) for values in (z, c))
        return sum(z_parts[i] @ c_parts[j].T for i, j in KEPT[count]) / scale**2

    return multiply


def tensor_core_bound(dim: int, dropped: float) -> tuple[float, float]:
    """Return the factors of |z| r and of the score in the bound, where `dropped` is what the parts lack."""
    found = rounding.factors(dim)
    return found.products - rounding.SPLIT + dropped, found.scores


def schemes(dim: int) -> dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float, float]]:
    """Return how each scheme multiplies, and the two factors of its bound."""
    split = {f"bfloat16 in {count}": (product(count), *tensor_core_bound(dim, DROPPED[count])) for count in DROPPED}
    half = {"float16 in 2": (product(2, torch.float16), *tensor_core_bound(dim, FLOAT16))}
    return {"float32": (lambda z, c: z @ c.T, 0.0, (dim + 8) * HALF)} | split | half


def third_of(groups: Tensor) -> Tensor:
    """Return the max score, ` n`, outside the two groups that the kernels keep: the best ones of two lanes."""
    missing = -groups.shape[1] % LANES
    lanes = torch.nn.functional.pad(groups, (0, missing), value=-torch.inf).unflatten(1, (-1, LANES))
    tops = lanes.amax(dim=1)
    seconds = lanes.topk(2, dim=1).values[:, 1].amax(dim=1) if lanes.shape[1] > 1 else tops.amin(dim=1)
    return tops.topk(3, dim=1).values[:, 2].maximum(seconds)


def measure(vectors: Tensor, codes: Tensor, is_dot: bool) -> dict[str, dict[str, float]]:
    """Return the figures of each scheme."""
    centre = 0.0 if is_dot else codes.mean(dim=0)
    z, c = vectors - centre, codes - centre
    offsets = torch.zeros(len(c)) if is_dot else c.square().sum(dim=1) / -2
    lengths, sizes = c.norm(dim=1), z.norm(dim=1)
    figures = {}
    for name, (multiply, product_factor, score_factor) in schemes(c.shape[1]).items():
        in_doubt, unsettled, worst, of_bound = 0, 0, 0.0, 0.0
        for rows, size in zip(z.split(128), sizes.split(128), strict=True):
            scores = multiply(rows, c) + offsets
            padded = torch.nn.functional.pad(scores, (0, -len(c) % GROUP), value=-torch.inf)
            groups = padded.unflatten(1, (-1, GROUP)).amax(dim=2)
            best, second = (scores if name == "float32" else groups).topk(2, dim=1).values.T
            reach = lengths.max() if is_dot else (2 * size + lengths[scores.argmax(dim=1)]).minimum(lengths.max())
            scale = size * reach if is_dot else reach * (size + reach)
            bound = product_factor * size * reach + score_factor * scale
            in_doubt += int((best - second <= 2 * bound).sum())
            unsettled += int((best - third_of(groups) <= 2 * bound).sum())
            shown = scores[: 8 if len(c) > 1 << 16 else 32]
            few = rows[: len(shown)].double()
            true = few @ c.double().T + (0 if is_dot else c.double().square().sum(dim=1) / -2)
            whole = few.norm(dim=1, keepdim=True) * lengths + offsets.abs()
            error = (shown - true).abs()
            worst = max(worst, float((error / whole).max()))
            reached = lengths <= reach.expand(len(rows))[: len(shown), None]
            of_bound = max(of_bound, float((error / bound[: len(shown), None])[reached].max()))
        figures[name] = {"worst": worst, "of bound": of_bound, "doubt": in_doubt / len(z)}
        if name != "float32":
            figures[name]["searched again"] = unsettled / len(z)
    return figures


def photo_latents() -> tuple[Tensor, Tensor]:
    """Return photo-f8's latents of the test photos as its quantizer compares them, `n d`, and its codes."""
    tokenizer = vistok.load("photo-f8", device="cpu")
    quantizer, seen = tokenizer.model.quantizer, []
    quantizer.register_forward_pre_hook(lambda _, given: seen.append(quantizer.to_code_space(given[0])))
    tokenizer.encode([path for path in sorted(PHOTOS.iterdir()) if path.suffix != ".md"])
    rows = torch.cat([latent.permute(0, 2, 3, 1).flatten(0, 2) for latent in seen])
    return rows, quantizer.code_rows(torch.arange(quantizer.vocab_size)).contiguous()


def cases(count: int) -> dict[str, Callable[[], tuple[Tensor, Tensor, bool]]]:
    """Return latents, codes and whether they are compared by their products, by what they are."""

    def photos(fitted: bool) -> tuple[Tensor, Tensor, bool]:
        rows, codes = photo_latents()
        chosen = rows[torch.randperm(len(rows))]
        return chosen[:count], kmeans(rows, 1024, 5, torch.Generator().manual_seed(0)) if fitted else codes, False

    draw = torch.randn
    return {
        "Gaussian, 65,536 x 8": lambda: (draw(count, 8), draw(65_536, 8), False),
        "Gaussian, 16,384 x 64": lambda: (draw(count, 64), draw(16_384, 64), False),
        "Gaussian, 16,384 x 256": lambda: (draw(count, 256), draw(16_384, 256), False),
        "photo-f8, its grid, 64,800 x 5": lambda: photos(False),
        "photo-f8, k-means, 1,024 x 5": lambda: photos(True),
        "LlamaGen's size, 16,384 x 8, cosine": lambda: (
            *(on_unit_sphere(draw(size, 8)) for size in (count, 16_384)),
            False,
        ),
        "Emu3.5's size, 131,072 x 256, dot": lambda: (draw(count // 4, 256), draw(131_072, 256) * 256**-0.5, True),
    }


def main() -> None:
    """Run all cases and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/split_products.json"))
    parser.add_argument("--latents", type=int, default=2048)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    figures = {}
    for name, case in cases(arguments.latents).items():
        figures[name] = measure(*case())
        for scheme, found in figures[name].items():
            print(
                f"{name:36} {scheme:14} worst 2^{torch.tensor(found['worst']).log2():5.1f}  "
                f"{found['of bound']:6.1%} of the bound  in doubt {found['doubt']:7.2%}  "
                f"searched again {found.get('searched again', found['doubt']):7.2%}",
                flush=True,
            )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"torch": torch.__version__, "cases": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
