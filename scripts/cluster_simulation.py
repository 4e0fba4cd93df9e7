"""Shards over the workers of a cluster, event by event, for scripts/simulate_cluster.py."""

import heapq
import math
import random
from collections import deque
from typing import NamedTuple

DAY = 86400.0
STATIC, LAUNCHED, HANDED_OUT = "static", "launched", "handed out"
POLICIES = (STATIC, LAUNCHED, HANDED_OUT)
"""static: rank r of W has the shards r, r + W, ..., as in scripts with a distributed sampler; a lost rank starts again at the
shard that it lost. launched: vistok under torchrun, where shards are handed out one by one, and a loss ends the run for all,
which begins again. handed out: vistok's engines local and ray, where a lost worker's shard goes to another one."""


class Cluster(NamedTuple):
    """The machines."""

    nodes: int = 1
    per_node: int = 1
    """Workers of a node, one for each device; they are lost together."""
    images_per_second: float = 1.0
    """Of a worker, the median."""
    speed_sigma: float = 0.0
    """Of the lognormal speeds of workers."""
    slow_nodes: float = 0.0
    """Fraction of the nodes that are slow."""
    slow_factor: float = 0.5
    """Their speed, as a multiple of that of the others."""
    losses_per_node_day: float = 0.0
    """Poisson rate at which a node is lost."""
    restart_seconds: float = 0.0
    """From a loss until the workers, or others in their place, begin a shard."""

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self.nodes * self.per_node


class Outcome(NamedTuple):
    """What became of a run."""

    seconds: float
    """Until all shards are sealed; infinite when they are not after `limit` times the ideal."""
    ideal_seconds: float
    """If all workers were busy to the end, and nothing was lost."""
    losses: int
    lost_worker_seconds: float
    """Spent on shards that were lost before they were sealed."""

    @property
    def stretch(self) -> float:
        """The time as a multiple of the ideal."""
        return self.seconds / self.ideal_seconds


def simulate(
    cluster: Cluster,
    images: int,
    shard_size: int,
    policy: str,
    seed: int,
    seconds_per_shard: float = 0.0,
    limit: float = 20.0,
) -> Outcome:
    """Make all shards and return what it took; equal seeds have equal speeds, and equal losses as long as both run."""
    run = _Run(cluster, images, shard_size, policy, seed, seconds_per_shard)
    return run.until_done(limit)


def speeds_of(cluster: Cluster, seed: int) -> list[float]:
    """Return the images per second of each worker."""
    draw = random.Random(f"speeds {seed}")
    slow = set(draw.sample(range(cluster.nodes), round(cluster.slow_nodes * cluster.nodes)))
    return [
        cluster.images_per_second
        * math.exp(draw.gauss(0.0, cluster.speed_sigma))
        * (cluster.slow_factor if worker // cluster.per_node in slow else 1.0)
        for worker in range(cluster.workers)
    ]


class _Run:
    def __init__(
        self, cluster: Cluster, images: int, shard_size: int, policy: str, seed: int, seconds_per_shard: float
    ):
        self._cluster = cluster
        self._policy = policy
        self._overhead = seconds_per_shard
        self._speeds = speeds_of(cluster, seed)
        full, rest = divmod(images, shard_size)
        sizes = [shard_size] * full + [rest] * bool(rest)
        shared = deque(sizes)
        self._queues = [
            deque(sizes[worker :: cluster.workers]) if policy == STATIC else shared for worker in range(cluster.workers)
        ]
        self._left = len(sizes)
        work = images + len(sizes) * seconds_per_shard * cluster.images_per_second
        self._ideal = work / sum(self._speeds)
        self._events: list[tuple[float, int, int]] = []
        """Time, worker or ~node, and the number of the shard that the worker then ends; a lost one no longer counts."""
        self._held: dict[int, tuple[int, float]] = {}
        """Size and beginning of the shard of each worker that has one."""
        self._begun = [0] * cluster.workers
        self._idle: set[int] = set()
        self._losses, self._lost_seconds = 0, 0.0
        self._draw = [random.Random(f"losses {seed} {node}") for node in range(cluster.nodes)]

    def until_done(self, limit: float) -> Outcome:
        """Handle one event after another."""
        for node in range(self._cluster.nodes):
            self._plan_loss(node, 0.0)
        for worker in range(self._cluster.workers):
            self._begin(worker, 0.0)
        now = 0.0
        while self._left:
            now, who, number = heapq.heappop(self._events)
            if now > limit * self._ideal:
                return Outcome(math.inf, self._ideal, self._losses, self._lost_seconds)
            if who < 0:
                self._lose(~who, now)
            elif number == self._begun[who]:
                self._left -= self._held.pop(who, None) is not None
                self._begin(who, now)
        return Outcome(now, self._ideal, self._losses, self._lost_seconds)

    def _begin(self, worker: int, now: float) -> None:
        """Let a worker take its next shard, or wait for one that another loses."""
        if not self._queues[worker]:
            self._idle.add(worker)
            return
        size = self._queues[worker].popleft()
        self._held[worker] = size, now
        self._wake(worker, now + size / self._speeds[worker] + self._overhead)

    def _wake(self, worker: int, time: float) -> None:
        self._begun[worker] += 1
        heapq.heappush(self._events, (time, worker, self._begun[worker]))

    def _plan_loss(self, node: int, now: float) -> None:
        if rate := self._cluster.losses_per_node_day / DAY:
            heapq.heappush(self._events, (now + self._draw[node].expovariate(rate), ~node, 0))

    def _lose(self, node: int, now: float) -> None:
        """Take the shards from the workers of a node, or of all nodes of a launch, and start these anew."""
        per_node = self._cluster.per_node
        own = range(node * per_node, (node + 1) * per_node)
        workers = range(self._cluster.workers) if self._policy == LAUNCHED else own
        again = now + self._cluster.restart_seconds
        self._losses += 1
        for worker in workers:
            if held := self._held.pop(worker, None):
                size, began = held
                self._queues[worker].appendleft(size)
                self._lost_seconds += now - began
            self._idle.discard(worker)
            self._wake(worker, again)
        self._plan_loss(node, again)
        if self._policy != STATIC:
            for worker in sorted(self._idle)[: len(self._queues[0])]:
                self._idle.discard(worker)
                self._begin(worker, now)
