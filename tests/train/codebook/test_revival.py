"""Revival within a run: dead codes move, and the optimizer forgets them and no others."""

import pytest
import torch
from accelerate import Accelerator

from vistok.tokenizer.quantizers import build_quantizer
from vistok.train.codebook.monitor import Seen
from vistok.train.codebook.revival import CodebookConfig, CodebookMaintenance


@pytest.mark.parametrize(
    "optimizer", [torch.optim.AdamW, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)], ids=["adamw", "momentum"]
)
def test_the_optimizer_forgets_revived_codes_alone(optimizer):
    quantizer = build_quantizer({"name": "vq", "dim": 3, "codebook_size": 6})
    table = quantizer.codebook.table
    working = optimizer([table])
    table.grad = torch.randn_like(table)
    working.step()
    before = {name: value.clone() for name, value in working.state[table].items() if value.shape == table.shape}
    assert before and all(value.all() for value in before.values())
    care = CodebookMaintenance(CodebookConfig(revive_every=2), quantizer, Accelerator(cpu=True), seed=0)
    latent = torch.randn(1, 3, 4, 4)
    tokens = torch.tensor([0, 2]).repeat(8).reshape(1, 1, 4, 4)
    seen = Seen(latent, latent, tokens)
    assert care.observe(1, seen, working) == 0 and care.observe(2, seen, working) == 4
    for name, value in before.items():
        now = working.state[table][name]
        assert not now[[1, 3, 4, 5]].any() and torch.equal(now[[0, 2]], value[[0, 2]])
