"""What stragglers and lost nodes cost, by engine and shard size, on simulated clusters.

    python scripts/simulate_cluster.py --out results/simulate_cluster.json [--figure results/simulate_cluster.png]

100 nodes of 8 GPUs, a billion images, and 828 images per second on each GPU: `tokenize-images --fast` of version 0.1 with
photo-f8 on an H200. How uneven the workers are and how often nodes are lost are assumptions, named in the file. Each row
has the median and the worst of some seeds, as multiples of the time in which all workers would be busy to the end.
"""

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

from cluster_simulation import HANDED_OUT, LAUNCHED, POLICIES, STATIC, Cluster, simulate

IMAGES = 10**9
PER_SECOND = 828.0
SIZES = (1_000, 10_000, 100_000, 1_000_000)
SEEDS = {1_000: 2, 10_000: 5, 100_000: 9, 1_000_000: 9}
SECONDS_PER_SHARD = 0.05
"""To seal a shard: an assumption."""
EVEN = Cluster(nodes=100, per_node=8, images_per_second=PER_SECOND, restart_seconds=180.0)
UNEVEN = EVEN._replace(speed_sigma=0.1, slow_nodes=0.05, slow_factor=0.5)
CLUSTERS = {
    "even, no losses": EVEN,
    "uneven, no losses": UNEVEN,
    "uneven, a node lost per 30 node-days": UNEVEN._replace(losses_per_node_day=1 / 30),
    "uneven, a node lost per node-day (spot)": UNEVEN._replace(losses_per_node_day=1.0),
}
SMALLER = {
    "eight GPUs in one node, uneven": Cluster(1, 8, PER_SECOND, 0.1),
    "eight nodes of one GPU, uneven, a node lost per node-day (spot)": Cluster(
        8, 1, PER_SECOND, 0.1, losses_per_node_day=1.0, restart_seconds=180.0
    ),
}
"""With 10^7 images, so that runs last some hours: the same shards per GPU as above."""


def row(name: str, cluster: Cluster, images: int, size: int, policy: str, seeds: int) -> dict[str, Any]:
    """Simulate some seeds of one setting."""
    runs = [simulate(cluster, images, size, policy, seed, SECONDS_PER_SHARD) for seed in range(seeds)]
    hours = statistics.median(run.seconds for run in runs) / 3600
    return {
        "cluster": name,
        "policy": policy,
        "images": images,
        "shard_size": size,
        "shards_per_worker": images / size / cluster.workers,
        "minutes_per_shard": size / cluster.images_per_second / 60,
        "seeds": seeds,
        "hours": hours if math.isfinite(hours) else None,
        "stretch": _finite(statistics.median(run.stretch for run in runs)),
        "worst_stretch": _finite(max(run.stretch for run in runs)),
        "losses": statistics.median(run.losses for run in runs),
        "lost_fraction": statistics.median(
            run.lost_worker_seconds / (run.ideal_seconds * cluster.workers) for run in runs
        ),
    }


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def tables(found: dict[str, Any]) -> str:
    """Return the stretch of each setting, a column for each policy."""
    lines = [
        f"| cluster | images per shard | shards per worker | {' | '.join(POLICIES)} |",
        "| --- |" + " --- |" * (2 + len(POLICIES)),
    ]
    rows: list[dict[str, Any]] = found["rows"]
    by_setting = {(each["cluster"], each["shard_size"], each["policy"]): each for each in rows}
    for cluster, size in dict.fromkeys((each["cluster"], each["shard_size"]) for each in rows):
        cells = (
            f"{value:.3f}" if (value := by_setting[cluster, size, policy]["stretch"]) else "over 20"
            for policy in POLICIES
        )
        shards = by_setting[cluster, size, STATIC]["shards_per_worker"]
        lines.append(f"| {cluster} | {size:,} | {shards:,.4g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the stretch over the shard size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(CLUSTERS), figsize=(13, 3.2), sharey=True)
    for axis, cluster in zip(axes, CLUSTERS, strict=True):
        for policy, marker in zip((STATIC, LAUNCHED, HANDED_OUT), "so^", strict=True):
            own = [each for each in rows if (each["cluster"], each["policy"]) == (cluster, policy)]
            axis.plot(
                [each["shard_size"] for each in own],
                [each["stretch"] or 20 for each in own],
                marker=marker,
                label=policy,
            )
        axis.set(xscale="log", yscale="log", title=cluster.replace(", a node", ",\na node"), xlabel="images per shard")
        axis.title.set_fontsize(9)
    axes[0].set_ylabel("time, as a multiple of the ideal")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Simulate all settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    settings = [(name, cluster, IMAGES, SIZES) for name, cluster in CLUSTERS.items()]
    settings += [(name, cluster, IMAGES // 100, SIZES[:-1]) for name, cluster in SMALLER.items()]
    rows = [
        row(name, cluster, images, size, policy, SEEDS[size] if images == IMAGES else 9)
        for name, cluster, images, sizes in settings
        for size in sizes
        for policy in POLICIES
    ]
    assumed = {
        "seconds_per_shard": SECONDS_PER_SHARD,
        "clusters": {name: each._asdict() for name, each in (CLUSTERS | SMALLER).items()},
    }
    found = {"assumed": assumed, "rows": rows}
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    if given.figure:
        draw(rows, given.figure)
    print(tables(found))


if __name__ == "__main__":
    main()
