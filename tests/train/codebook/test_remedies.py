"""Alarms advise what the quantizer of the run has, and nothing else."""

import pytest
import torch

from vistok.evaluation.usage import codebook_usage
from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.codebook.alarms import CodebookAlarms, Directions
from vistok.train.codebook.remedies import remedies_for

FIT = {
    "length_ratio": 1.0,
    "obtuse": 0.0,
    "relative_distortion": 0.1,
    "effective_rank": 6.0,
    "latent_effective_rank": 6.0,
}
EVEN = torch.full((1, 1024), 100)
FEW = EVEN * (torch.arange(1024) < 100)
COURSES = [{"relative_distortion": 0.9}, {"length_ratio": 9.0}, {"obtuse": 0.5}]
COURSES += [{"effective_rank": 1.5, "latent_effective_rank": rank} for rank in (1.5, 6.0)]
SIZE = {"dim": 8, "codebook_size": 1024}
REVIVED = "codebook.initialization: kmeans|codebook.revive_every|a higher losses.commitment|"
TURNED = "|gradient straight_through or rotation_no_scale|gradient straight_through until the codebook fits"
ALWAYS = {"a lower optimizer.lr", "fewer latent channels"}


def check(alarms, step, counts, changes):
    values = {f"codebook/{name}": value for name, value in (FIT | changes).items()}
    return alarms.check(step, values, counts, codebook_usage(counts, 1024), [Directions("codebook", 8, 1024)])


@pytest.mark.parametrize(
    ("values", "advised"),
    [
        ({"name": "fsq", "levels": [8, 5, 5]}, "ema with codebook.revive_every"),
        (
            {"name": "lfq", "dim": 10},
            "a higher losses.commitment|a higher losses.codebook_entropy|fsq|ema with codebook.revive_every",
        ),
        ({"name": "ema", **SIZE}, f"{REVIVED}fsq|the quantizers simvq or fsq"),
        ({"name": "simvq", **SIZE, "gradient": "rotation"}, f"{REVIVED}fsq|the quantizer fsq{TURNED}"),
        (
            {"name": "grouped", "quantizer": {"name": "vq", **SIZE, "gradient": "rotation"}, "groups": 2},
            f"{REVIVED}fsq|the quantizers simvq or fsq{TURNED}",
        ),
    ],
    ids=lambda values: values["name"] if isinstance(values, dict) else "",
)
def test_alarms_advise_what_the_quantizer_has(values, advised):
    found = []
    for changes in COURSES:
        alarms = CodebookAlarms(1024, remedies_for(build_quantizer(values)))
        assert check(alarms, 100, EVEN, {}) == []
        found += check(alarms, 200, FEW, changes)
    advice = [sentence.partition("; try ")[2].removesuffix(".").split(", ") for sentence in found]
    assert len(found) == 2 * len(COURSES)
    assert {remedy.removeprefix("or ") for remedies in advice for remedy in remedies} == ALWAYS | {*advised.split("|")}
