"""The simulated cluster is what mathematics says of it where that has an answer."""

import math
import statistics

import numpy as np
import pytest

from commands import ROOT


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import cluster_simulation

    return cluster_simulation


def test_one_worker_without_losses_takes_the_sum_of_its_shards(simulation):
    cluster = simulation.Cluster(images_per_second=4.0)
    for policy in simulation.POLICIES:
        outcome = simulation.simulate(cluster, 1030, 100, policy, seed=0, seconds_per_shard=0.5)
        assert outcome.seconds == pytest.approx(1030 / 4 + 11 * 0.5)
        assert outcome.stretch == pytest.approx(1)
        assert outcome.losses == outcome.lost_worker_seconds == 0


@pytest.mark.parametrize("shards", [1, 7, 8, 9, 40])
def test_equal_workers_take_rounds(simulation, shards):
    cluster = simulation.Cluster(nodes=4, per_node=2, images_per_second=10.0)
    for policy in simulation.POLICIES:
        outcome = simulation.simulate(cluster, 50 * shards, 50, policy, seed=1)
        assert outcome.seconds == pytest.approx(math.ceil(shards / 8) * 5.0)


def test_ranks_wait_for_the_slowest_of_them(simulation):
    """With equal parts a run takes the max of lognormal times, whose mean is the integral of 1 - F^W."""
    sigma, workers = 0.2, 16
    cluster = simulation.Cluster(nodes=workers, speed_sigma=sigma)
    seconds = [simulation.simulate(cluster, workers * 100, 10, "static", seed).seconds for seed in range(300)]
    grid = np.linspace(0, 4, 20001)[1:]
    below = np.array([0.5 * (1 + math.erf(math.log(t) / sigma / math.sqrt(2))) for t in grid])
    expected = 100 * float(np.sum(1 - below**workers)) * (grid[1] - grid[0])
    error = statistics.stdev(seconds) / math.sqrt(len(seconds))
    assert statistics.mean(seconds) == pytest.approx(expected, abs=4 * error)


def test_handed_out_shards_end_within_one_shard_of_the_ideal(simulation):
    cluster = simulation.Cluster(nodes=5, per_node=3, speed_sigma=0.3, slow_nodes=0.2)
    for seed in range(20):
        outcome = simulation.simulate(cluster, 10_000, 40, "handed out", seed)
        assert outcome.ideal_seconds <= outcome.seconds
        assert outcome.seconds <= outcome.ideal_seconds + 40 / min(simulation.speeds_of(cluster, seed))


def test_slow_nodes_are_as_many_and_as_slow_as_they_should_be(simulation):
    cluster = simulation.Cluster(nodes=10, per_node=4, images_per_second=8.0, slow_nodes=0.3, slow_factor=0.25)
    assert sorted(simulation.speeds_of(cluster, 0)) == [2.0] * 12 + [8.0] * 28


@pytest.mark.parametrize("policy", ["static", "launched", "handed out"])
def test_a_shard_that_may_be_lost_takes_what_a_restart_costs(simulation, policy):
    """A shard of d seconds takes (exp(rate d) - 1) (1 / rate + restart) on average, when each loss begins it anew."""
    rate, d, restart, shards = 1 / 200, 100.0, 30.0, 400
    cluster = simulation.Cluster(losses_per_node_day=rate * simulation.DAY, restart_seconds=restart)
    runs = [simulation.simulate(cluster, 100 * shards, 100, policy, seed) for seed in range(10)]
    seconds = [run.seconds / shards for run in runs]
    expected = math.expm1(rate * d) * (1 / rate + restart)
    error = statistics.stdev(seconds) / math.sqrt(len(seconds))
    assert statistics.mean(seconds) == pytest.approx(expected, abs=4 * error)
    for run in runs:
        lost = run.seconds - shards * d - run.losses * restart
        assert run.lost_worker_seconds == pytest.approx(lost)


def test_a_launch_is_lost_as_often_as_any_of_its_nodes(simulation):
    """So n nodes, one shard each, take (exp(n rate d) - 1) / (n rate) when they begin again at once."""
    rate, d, nodes = 1 / 800, 100.0, 8
    cluster = simulation.Cluster(nodes=nodes, losses_per_node_day=rate * simulation.DAY)
    seconds = [simulation.simulate(cluster, nodes * 100, 100, "launched", seed).seconds for seed in range(1500)]
    expected = math.expm1(nodes * rate * d) / (nodes * rate)
    error = statistics.stdev(seconds) / math.sqrt(len(seconds))
    assert statistics.mean(seconds) == pytest.approx(expected, abs=4 * error)


def test_a_lost_node_takes_its_workers_with_it_and_others_do_their_shards(simulation):
    """Of two nodes one is lost for a long time: the other one does the rest."""
    cluster = simulation.Cluster(nodes=2, per_node=2, losses_per_node_day=20, restart_seconds=1e9)
    for seed in range(5):
        static = simulation.simulate(cluster, 100_000, 100, "static", seed)
        handed = simulation.simulate(cluster, 100_000, 100, "handed out", seed, limit=1e6)
        assert static.seconds == math.inf and static.losses
        assert handed.losses >= 1 and handed.seconds > handed.ideal_seconds


def test_equal_seeds_give_equal_runs(simulation):
    cluster = simulation.Cluster(3, 2, 5.0, 0.2, 0.3, 0.5, 50.0, 60.0)
    for policy in simulation.POLICIES:
        first, second = (simulation.simulate(cluster, 50_000, 500, policy, seed=3) for _ in range(2))
        assert first == second


def test_a_run_that_never_ends_is_given_up(simulation):
    cluster = simulation.Cluster(losses_per_node_day=simulation.DAY)
    assert simulation.simulate(cluster, 1000, 1000, "launched", seed=0).stretch == math.inf
