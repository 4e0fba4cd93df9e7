"""What a quantizer anneals follows the optimizer's steps: not micro-batches, not forwards, and on where a run left off."""

import pytest
import torch
from accelerate import Accelerator

from runs import config
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.vector.soft_assignment import SoftAssignmentConfig
from vistok.train.codebook.maintenance import CodebookConfig
from vistok.train.finetune.config import FitConfig
from vistok.train.finetune.fit_quantizer import fit_quantizer
from vistok.train.finetune.swap_quantizer import FittedQuantizer
from vistok.train.loop import train

SOFT = "{name: vq, dim: 8, codebook_size: 32, soft: {temperature: 1.0, final_temperature: 0.01, anneal_steps: 10}}"
INNER = {"soft": (1, "SOFT"), "grouped": (2, "{name: grouped, groups: 2, quantizer: SOFT}")}


@pytest.fixture
def asked(monkeypatch):
    """The steps whose temperature forwards ask for, in order."""
    steps, answer = [], SoftAssignmentConfig.temperature_at

    def noting(self, step):
        steps.append(step)
        return answer(self, step)

    monkeypatch.setattr(SoftAssignmentConfig, "temperature_at", noting)
    return steps


def emptied(asked):
    steps = asked[:]
    asked.clear()
    return steps


@pytest.mark.parametrize("name", INNER)
def test_micro_batches_do_not_hasten_the_temperature(tmp_path, asked, name):
    levels, quantizer = INNER[name][0], "model.quantizer=" + INNER[name][1].replace("SOFT", SOFT)
    train(config(tmp_path / "one", quantizer, steps=4))
    whole = emptied(asked)
    train(config(tmp_path / "four", quantizer, "run.gradient_accumulation=4", steps=4))
    assert whole == sorted([0, 1, 2, 3] * levels)
    found = emptied(asked)
    assert sorted(found) == sorted(whole * 4) and found == sorted(found)


def test_a_run_that_goes_on_goes_on_with_its_temperature(tmp_path, asked):
    quantizer = f"model.quantizer={SOFT}"
    train(config(tmp_path, quantizer, steps=2))
    assert emptied(asked) == [0, 1]
    train(config(tmp_path, quantizer, steps=4))
    assert emptied(asked) == [2, 3]


def test_a_fit_anneals_over_its_steps(asked):
    soft = {"final_temperature": 0.1, "anneal_steps": 5}
    quantizer = build_quantizer({"name": "vq", "dim": 3, "codebook_size": 8, "soft": soft})
    vectors = torch.randn(64, 3)
    fit_quantizer(
        FittedQuantizer(torch.nn.Identity(), quantizer, torch.nn.Identity()),
        vectors,
        vectors,
        {"commitment": 0.0, "codebook": 1.0},
        FitConfig(steps=4, batch_size=16),
        CodebookConfig(),
        Accelerator(cpu=True),
        seed=0,
    )
    assert asked == [0, 1, 2, 3]
