"""Score identity distillation on a mixture of Gaussians in the plane: the loss L2 - lambda L1, by lambda.

    python scripts/matching_on_mixture.py --out results/matching_on_mixture.json

The teacher is exact: the flow of a mixture is known in closed form. Generators and fake networks are small MLPs, and the fake
network starts as the teacher. A generator starts at half its noise, a blob amid the modes ("blob"), or fitted to the
teacher's 8 steps ("distilled"); "hurried" is the latter with three times the rate and one step of the fake network for one
of the generator, not four. Recipes of a setting see the same noise in the same order; seeds differ in the first weights.
Distances are Wasserstein's 1-distance over 32 directions, of 4,000 samples. All is float32 on one core, in about two
minutes. Settings that the file has are not repeated.
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mixture.runs import Networks, Recipe, distill, generate, match, repeated
from mixture.table import markdown, plot
from mixture.target import draw, mode_statistics, sliced_distance

SAMPLES = 4000
CHECKS = 15
"""How often in a run the distance is measured."""
DRAWN = 400
"""Samples of the first seed that are kept for the figure."""
DISTILL_STEPS = 1000
RECIPES = {
    "0": Recipe(1, 0),
    "0.5": Recipe(1, -0.5),
    "1": Recipe(1, -1),
    "1.2": Recipe(1, -1.2),
    "L1 alone": Recipe(0, 1),
}


class Setting(NamedTuple):
    """How the generators start and learn."""

    distilled: bool
    lr: float
    fake_steps: int


SETTINGS = {
    "blob": Setting(False, 1e-3, 4),
    "distilled": Setting(True, 3e-4, 4),
    "hurried": Setting(True, 1e-3, 1),
}


def seeded(seed: int) -> torch.Generator:
    """Return a generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def run_setting(name: str, seeds: int, steps: int) -> list[dict[str, Any]]:
    """Train all recipes from the same starts; return one row for each recipe and seed."""
    setting = SETTINGS[name]
    start = Networks(seeds, seeded(0))
    if setting.distilled:
        distill(start, DISTILL_STEPS, 3e-3, seeded(1))
    target, noise = draw(SAMPLES, seeded(2)), torch.randn(SAMPLES, 2, generator=seeded(3))
    generator = repeated(start, len(RECIPES))
    recipes = [recipe for recipe in RECIPES.values() for _ in range(seeds)]
    distances: list[list[float]] = []

    @torch.no_grad()
    def samples() -> torch.Tensor:
        return generate(generator, noise.expand(len(recipes), -1, -1))

    def watch(step: int) -> None:
        if step % (steps // CHECKS) == 0:
            distances.append(sliced_distance(samples(), target).tolist())

    watch(0)
    match(generator, recipes, steps, setting.lr, setting.fake_steps, seeded(4), watch)
    last = samples()
    facts = {key: values.tolist() for key, values in mode_statistics(last).items()}
    rows: list[dict[str, Any]] = []
    for index, (recipe, seed) in enumerate(itertools.product(RECIPES, range(seeds))):
        row = {"setting": name, "recipe": recipe, "seed": seed, "distances": [round(d[index], 4) for d in distances]}
        row |= {key: round(values[index], 4) for key, values in facts.items()}
        if seed == 0:
            row["samples"] = [[round(x, 2) for x in point] for point in last[index, :DRAWN].tolist()]
        rows.append(row)
    return rows


def main() -> None:
    """Run what is missing, write the results and the figure beside them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/matching_on_mixture.json"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {
        "settings": {name: setting._asdict() for name, setting in SETTINGS.items()},
        "seeds": arguments.seeds,
        "floor": float(sliced_distance(draw(SAMPLES, seeded(5)), draw(SAMPLES, seeded(2)))),
        "checks": [check * (arguments.steps // CHECKS) for check in range(CHECKS + 1)],
        "runs": [],
    }
    if arguments.out.exists():
        before = json.loads(arguments.out.read_text())
        if any(before[key] != results[key] for key in ("settings", "seeds", "checks")):
            raise SystemExit(
                f"{arguments.out} holds runs of other settings: remove it, or name another file with --out."
            )
        results["runs"] = before["runs"]
    for name in SETTINGS:
        if not any(run["setting"] == name for run in results["runs"]):
            began = time.process_time()
            results["runs"] += run_setting(name, arguments.seeds, arguments.steps)
            arguments.out.write_text(json.dumps(results) + "\n")
            print(f"{name}: {time.process_time() - began:.0f} CPU seconds", flush=True)
    plot(results, arguments.out.with_suffix(".png"))
    print(markdown(results))


if __name__ == "__main__":
    main()
