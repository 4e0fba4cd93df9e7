"""What is an alarm and what is not, in simulated windows."""

import numpy as np
import pytest
import torch

from vistok.evaluation import usage as counting
from vistok.evaluation.usage import codebook_usage, count_tokens, empty_counts
from vistok.train.codebook.alarms import CodebookAlarms, Directions
from vistok.train.codebook.remedies import Remedies

FIT = {
    "codebook/length_ratio": 1.0,
    "codebook/obtuse": 0.0,
    "codebook/relative_distortion": 0.1,
    "codebook/effective_rank": 6.0,
    "codebook/latent_effective_rank": 6.0,
}
HEALTHY = torch.full((1, 1024), 100)
EIGHT = [Directions("codebook", 8, 1024)]


def watch(codes=1024):
    return CodebookAlarms(codes, Remedies(True, ("codebook", "commitment"), is_straight_through=False))


def check(alarms, step, counts=HEALTHY, codes=1024, directions=EIGHT, **changes):
    usages = codebook_usage(counts, codes)
    values = FIT | {f"codebook/{name.replace('__', '/')}": value for name, value in changes.items()}
    return alarms.check(step, values, counts, usages, directions)


def zipf(alpha):
    return lambda codes: np.arange(1, codes + 1) ** -float(alpha)


def even(codes):
    return np.ones(codes)


def few(used):
    return lambda codes: (np.arange(codes) < used).astype(float)


def one_takes(fraction):
    return lambda codes: np.where(np.arange(codes) == 0, fraction, (1 - fraction) / (codes - 1))


def drawn(chances, tokens, seed):
    return np.random.default_rng(seed).multinomial(tokens, chances / chances.sum())


def simulate(windows, codes):
    """Return the words of all alarms of windows, each of chances and a number of tokens."""
    alarms, found = watch(codes), []
    for number, (chances, tokens) in enumerate(windows, 1):
        counts = torch.from_numpy(drawn(chances(codes), tokens, number))[None]
        found += check(alarms, 100 * number, counts, codes)
    return found


LONG, SHORT = 100_000, 3 * 256
SITUATIONS = {
    "even": ([(even, LONG)] * 6, 1024, None),
    "even, last window of 3 steps": ([(even, LONG)] * 6 + [(even, SHORT)], 1024, None),
    "even, 16,384 codes, last window of 3 steps": ([(even, LONG)] * 6 + [(even, SHORT)], 16_384, None),
    "zipf 1": ([(zipf(1), LONG)] * 6, 1024, None),
    "zipf 1, last window of 3 steps": ([(zipf(1), LONG)] * 6 + [(zipf(1), SHORT)], 1024, None),
    "zipf 1.2": ([(zipf(1.2), LONG)] * 6, 1024, None),
    "zipf 1.2, last window of 3 steps": ([(zipf(1.2), LONG)] * 6 + [(zipf(1.2), SHORT)], 1024, None),
    "zipf 1.2, 16,384 codes": ([(zipf(1.2), LONG)] * 6 + [(zipf(1.2), SHORT)], 16_384, None),
    "zipf 1.2, tokens far fewer than codes": ([(zipf(1.2), 20_000)] * 6 + [(zipf(1.2), SHORT)], 1 << 18, None),
    "even, tokens far fewer than codes": ([(even, 2_000)] * 6 + [(even, 100)], 1 << 18, None),
    "windows that grow": ([(zipf(1), 1_000 * 4**number) for number in range(5)], 4096, None),
    "two codes": ([(even, LONG)] * 6 + [(even, 12)], 2, None),
    "one token": ([(even, 1)] * 6, 1024, None),
    "no token": ([(even, LONG), (even, 0), (even, LONG)], 1024, None),
    "collapse": ([(even, LONG)] * 3 + [(few(100), LONG)], 1024, "the codes in use fell from 1,024 to 100 of 1,024 in"),
    "collapse of zipf": ([(zipf(1), LONG)] * 3 + [(few(10), LONG)], 1024, "the codes in use fell from 1,024 to 10 of"),
    "collapse in a last window of 3 steps": ([(zipf(1), LONG)] * 3 + [(few(5), SHORT)], 1024, "the codes in use fell"),
    "collapse among tokens far fewer than codes": (
        [(even, 2_000)] * 3 + [(few(300), 2_000)],
        1 << 18,
        "the codes in use fell",
    ),
    "slow collapse": ([(few(int(1024 * 0.9**number)), LONG) for number in range(12)], 1024, "the codes in use fell"),
    "usage 100 %, but one code takes 97 %": ([(one_takes(0.97), LONG)] * 4, 64, "perplexity is 1.3"),
    "one code comes to take 97 %": (
        [(even, LONG), (one_takes(0.97), LONG)],
        1024,
        "in 100 steps, with 982 of 1,024 codes in use: a few codes take most tokens",
    ),
    "slow concentration": (
        [(one_takes(1 - 0.8**number), LONG) for number in range(1, 9)],
        1024,
        "a few codes take most tokens",
    ),
    "never came to life": ([(few(20), LONG)] * 3, 1024, "only 20 of 1,024 codes are in use"),
    "hardly came to life, tokens fewer than codes": ([(few(300), LONG)] * 3, 1 << 18, "only 300 of 262,144 codes"),
    "one code of two": ([(few(1), LONG)] * 3, 2, "perplexity is 1.0"),
}


@pytest.mark.parametrize(("windows", "codes", "words"), SITUATIONS.values(), ids=SITUATIONS)
def test_a_situation_is_an_alarm_or_it_is_not(windows, codes, words):
    found = simulate(windows, codes)
    if words is None:
        assert found == []
    else:
        assert found and words in found[0] and "; try " in found[0]


@pytest.mark.parametrize(("draw", "is_alarm"), [("even", False), ("zipf", False), ("one", True)])
def test_codes_too_many_to_count_are_watched_by_their_slots(draw, is_alarm, monkeypatch):
    monkeypatch.setattr(counting, "SLOTS", 1 << 16)
    rng, codes, found = np.random.default_rng(0), 1 << 62, []
    alarms = watch(codes)
    for number in range(1, 6):
        tokens = {
            "even": rng.integers(0, codes, 20_000),
            "zipf": rng.zipf(1.2, 20_000) % codes,
            "one": np.where(rng.random(20_000) < 0.97, 5, rng.integers(0, codes, 20_000)),
        }[draw][: 20_000 if number < 5 else 500]
        counts = empty_counts(1, codes)
        count_tokens(counts, torch.from_numpy(tokens).reshape(1, 1, 1, -1), codes)
        found += check(alarms, number * 100, counts, codes)
    assert bool(found) == is_alarm


def test_windows_before_a_codebook_comes_to_life_are_three():
    found = [bool(simulate([(few(20), LONG)] * number, 1024)) for number in (1, 2, 3)]
    assert found == [False, False, True]


def test_a_collapse_is_reported_once_with_its_numbers_and_again_after_a_recovery():
    alarms, collapsed = watch(), HEALTHY * (torch.arange(1024) < 100)
    assert check(alarms, 100) == []
    (sentence,) = check(alarms, 500, collapsed)
    assert sentence == (
        "the codes in use fell from 1,024 to 100 of 1,024 in 400 steps: the codebook collapses; try codebook.revive_every, a "
        "lower optimizer.lr, or the quantizers simvq or fsq."
    )
    assert check(alarms, 600, collapsed) == [] == check(alarms, 700)
    assert check(alarms, 800, collapsed) == []  # around the limit
    again = watch()
    again.load_state_dict(alarms.state_dict())
    for step in range(900, 1400, 100):
        assert check(again, step) == []
    assert len(check(again, 1400, collapsed)) == 1


def test_of_several_codebooks_each_is_watched_by_itself():
    alarms = watch()
    check(alarms, 100, HEALTHY.repeat(8, 1))
    counts = HEALTHY.repeat(8, 1)
    counts[3] = torch.where(torch.arange(1024) < 50, 2048, 0)
    (sentence,) = check(alarms, 200, counts)
    assert sentence.startswith("codebook 3: the codes in use fell from 1,024 to 50")


def test_many_codebooks_are_one_sentence():
    alarms, counts = watch(), HEALTHY.repeat(64, 1)
    check(alarms, 100, counts)
    directions = [*EIGHT, *(Directions(f"codebook/{number}", 8, 1024) for number in range(64))]
    flat = {f"{number}__{name}effective_rank": 1.5 for number in range(64) for name in ("", "latent_")}
    found = check(
        alarms, 200, torch.where(torch.arange(1024) < 50, 2048, 0).repeat(64, 1), directions=directions, **flat
    )
    assert [sentence.split(":")[0] for sentence in found] == [
        "codebook 0",
        "the codes of codebook 0 vary in 1.5 of 8 directions (effective rank), their latents in 1.5",
    ]
    assert all(sentence.endswith(" (63 more codebooks alike).") for sentence in found)


@pytest.mark.parametrize(("used", "step", "is_alarm"), [(400, 20, False), (400, 100, True), (60, 20, True)])
def test_a_fall_in_the_first_steps_is_a_collapse_only_when_it_is_deep(used, step, is_alarm):
    alarms = watch()
    assert check(alarms, 10) == []
    assert bool(check(alarms, step, HEALTHY * (torch.arange(1024) < used))) == is_alarm


def test_one_more_codebook_is_not_reported_as_many():
    alarms = watch()
    check(alarms, 100, HEALTHY.repeat(2, 1))
    (sentence,) = check(alarms, 200, torch.where(torch.arange(1024) < 50, 2048, 0).repeat(2, 1))
    assert sentence.endswith(" (1 more codebook alike).")


@pytest.mark.parametrize("tokens", [2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("codes", [2, 4, 16, 256])
@pytest.mark.parametrize("chances", [even, zipf(1)], ids=["even", "zipf"])
def test_chance_among_few_tokens_is_no_alarm(tokens, codes, chances):
    assert simulate([(chances, tokens)] * 40, codes) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length_ratio": 0.1}, "codes are 10 times shorter than their latents (|q|/|z| is 0.1)"),
        ({"length_ratio": 20.0}, "codes are 20 times longer than their latents"),
        ({"obtuse": 0.4}, "40% of the latents are at more than a right angle"),
    ],
)
def test_mismatched_lengths_and_angles_are_reported(change, words):
    (sentence,) = check(watch(), 100, **change)
    assert words in sentence and "try" in sentence


@pytest.mark.parametrize(
    ("course", "is_alarm"),
    [
        ((0.2, 0.45), False),  # latents that find more directions
        ((0.001, 0.3), False),
        ((0.2, 0.6), True),
        ((0.8, 0.9, 1.1), False),  # ten bits for 256 channels
        ((0.8, 1.7), True),
        ((3.0, 0.5, 0.4), False),
    ],
)
def test_distortion_is_held_against_the_variance_of_the_latents(course, is_alarm):
    alarms = watch()
    found = [check(alarms, 100 * n, relative_distortion=value) for n, value in enumerate(course, 1)]
    assert bool(found[-1]) == is_alarm and not any(found[:-1])
    if is_alarm:
        assert f"distortion grew from {course[0]:.2g} of the latents' variance at step 100" in found[-1][0]
        assert "losses.commitment" in found[-1][0]


def test_distortion_may_grow_in_the_first_steps():
    alarms = watch()
    assert not any(check(alarms, step, relative_distortion=value) for step, value in ((1, 0.2), (3, 0.7), (99, 0.7)))
    assert "from 0.2 of the latents' variance at step 1 to 0.7" in check(alarms, 100, relative_distortion=0.7)[0]


@pytest.mark.parametrize(
    ("rank", "latents", "dim", "codes", "step", "is_alarm"),
    [
        (2.0, 2.0, 8, 256, 300, True),  # a plane
        (2.0, 6.0, 8, 256, 300, True),
        (1.1, 1.1, 8, 256, 300, True),  # a line
        (2.2, 30.0, 256, 1024, 300, True),
        (2.0, 2.0, 8, 256, 50, False),  # a fresh start
        (3.0, 3.0, 8, 256, 300, False),
        (5.0, 20.0, 256, 1024, 300, False),
        (1.0, 1.0, 1, 256, 300, False),
        (1.0, 1.0, 2, 256, 300, False),
        (1.0, 1.0, 3, 256, 300, False),
        (1.0, 1.0, 4, 256, 300, True),
        (1.0, 7.0, 8, 2, 300, False),  # two codes have a line at most
        (2.0, 7.0, 8, 3, 300, False),
        (0.0, 7.0, 8, 256, 300, False),  # one code: reported as perplexity
        (float("nan"), float("nan"), 8, 256, 300, False),
    ],
)
def test_codes_on_a_plane_are_reported(rank, latents, dim, codes, step, is_alarm):
    directions = [Directions("codebook", dim, codes)]
    found = check(
        watch(),
        step,
        directions=directions,
        effective_rank=rank,
        latent_effective_rank=latents,
    )
    assert bool(found) == is_alarm
    if is_alarm:
        assert found[0].startswith(
            f"the codes vary in {rank:.1f} of {dim} directions (effective rank), their latents in"
        )
        assert ("the codes lie flat among the latents" in found[0]) == (rank < latents / 2) and "; try " in found[0]


def test_directions_that_are_not_measured_are_no_alarm():
    values = {name: value for name, value in FIT.items() if "rank" not in name}
    assert watch().check(300, values, HEALTHY, codebook_usage(HEALTHY, 1024), EIGHT) == []


def test_each_codebook_has_directions_of_its_own():
    directions = [*EIGHT, Directions("codebook/0", 8, 1024), Directions("codebook/1", 8, 1024)]
    ranks = {
        f"{number}__{name}": rank
        for number, rank in ((0, 5.0), (1, 1.5))
        for name in ("effective_rank", "latent_effective_rank")
    }
    (sentence,) = check(watch(), 300, HEALTHY.repeat(2, 1), directions=directions, **ranks)
    assert sentence.startswith("the codes of codebook 1 vary in 1.5 of 8 directions")


def test_state_goes_on_where_it_was(tmp_path):
    whole, first = watch(), watch()
    for alarms in (whole, first):
        check(alarms, 100)
        check(alarms, 200, relative_distortion=0.05)
    torch.save(first.state_dict(), tmp_path / "state")
    second = watch()
    second.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    collapsed = HEALTHY * (torch.arange(1024) < 100)
    for step in (500, 600):
        found = [check(alarms, step, collapsed, relative_distortion=0.9) for alarms in (whole, second)]
        assert found[0] == found[1] and len(found[0]) == (2 if step == 500 else 0)
