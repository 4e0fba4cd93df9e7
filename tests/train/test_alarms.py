import pytest

from vistok.train.alarms import CodebookAlarms, attainable_usage

HEALTHY = {
    "codebook/usage": 0.9,
    "codebook/tokens": 100_000,
    "codebook/length_ratio": 1.0,
    "codebook/obtuse": 0.0,
    "codebook/distortion": 0.1,
}


def check(alarms, step, **changes):
    return alarms.check(step, HEALTHY | {f"codebook/{name}": value for name, value in changes.items()}, codes=1024)


def test_a_healthy_codebook_says_nothing():
    alarms = CodebookAlarms()
    assert [check(alarms, step) for step in range(100, 1000, 100)] == [[]] * 9


def test_a_collapse_is_told_once_with_its_numbers_and_again_after_a_recovery():
    alarms = CodebookAlarms()
    check(alarms, 100, usage=0.91)
    (sentence,) = check(alarms, 500, usage=0.12)
    assert (
        "usage fell from 91% to 12%" in sentence and "in 400 steps" in sentence and "codebook.revive_every" in sentence
    )
    assert check(alarms, 600, usage=0.10) == []
    assert check(alarms, 700, usage=0.9) == []
    assert len(check(alarms, 800, usage=0.1)) == 1


def test_usage_is_held_against_what_the_tokens_can_reach():
    # 1,024 tokens reach 63 % of 1,024 codes when all are equally likely; half of that is no collapse.
    alarms = CodebookAlarms()
    check(alarms, 100, usage=0.632, tokens=1024)
    assert check(alarms, 200, usage=0.35, tokens=1024) == []
    assert attainable_usage(1024, 1024) == pytest.approx(1 - 1 / 2.718281828, abs=1e-3)
    assert attainable_usage(10**9, 4) == 1


def test_a_codebook_that_never_comes_to_life_is_given_three_windows():
    alarms = CodebookAlarms()
    assert check(alarms, 100, usage=0.02) == check(alarms, 200, usage=0.02) == []
    (sentence,) = check(alarms, 300, usage=0.02)
    assert "only 2.0% of 1,024 codes are in use at step 300" in sentence and "kmeans" in sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length_ratio": 0.1}, "codes are 10 times shorter than their latents (|q|/|z| is 0.1)"),
        ({"length_ratio": 20.0}, "codes are 20 times longer than their latents"),
        ({"obtuse": 0.4}, "40% of the codes stand at more than a right angle"),
    ],
)
def test_mismatched_lengths_and_angles_are_told(change, words):
    (sentence,) = check(CodebookAlarms(), 100, **change)
    assert words in sentence and "try" in sentence


def test_a_growing_distortion_is_told():
    alarms = CodebookAlarms()
    check(alarms, 100, distortion=0.01)
    assert check(alarms, 200, distortion=0.04) == []
    (sentence,) = check(alarms, 300, distortion=0.05)
    assert "distortion grew from 0.01 at step 100 to 0.05" in sentence and "losses.commitment" in sentence


def test_state_goes_on_where_it_was():
    whole, first = CodebookAlarms(), CodebookAlarms()
    for alarms in (whole, first):
        check(alarms, 100, usage=0.91)
    second = CodebookAlarms()
    second.load_state_dict(first.state_dict())
    assert check(second, 500, usage=0.12) == check(whole, 500, usage=0.12) != []
    assert check(second, 600, usage=0.12) == check(whole, 600, usage=0.12) == []
