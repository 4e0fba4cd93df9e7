"""Muon for any model: which parameters are its own, and that a model learns with them."""

import pytest
import torch
from torch import nn

from vistok.train.optimizer.model_groups import muon_groups
from vistok.train.optimizer.muon import Muon


class Speaker(nn.Module):
    """An embedding, hidden layers of each kind, and a head."""

    def __init__(self, tied=False):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.body = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8, bias=False))
        self.head = nn.Linear(8, 20, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.body(self.embed(ids)))


def kinds(model, **options):
    """Return optimizer and decay of each parameter, by its name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["use_muon"], group["weight_decay"])
        for group in muon_groups(model, **options)
        for parameter in group["params"]
    }


MUON, HEAD, REST = (True, 0.1), (False, 0.1), (False, 0.0)


def test_muon_gets_hidden_matrices_and_adamw_everything_else():
    assert kinds(Speaker(), adamw=["head"], weight_decay=0.1) == {
        "embed.weight": REST,
        "body.0.weight": MUON,
        "body.0.bias": REST,
        "body.2.weight": REST,
        "body.2.bias": REST,
        "body.3.weight": MUON,
        "head.weight": HEAD,
    }


def test_a_whole_part_can_be_adamws_and_a_tied_head_is_its_embedding():
    assert kinds(Speaker(tied=True), adamw=["body"]) == dict.fromkeys(
        ["embed.weight", "body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias", "body.3.weight"], REST
    )


def test_frozen_parameters_are_in_no_group():
    model = Speaker()
    model.body.requires_grad_(False)
    assert set(kinds(model)) == {"embed.weight", "head.weight"}


def test_a_name_that_is_no_module_is_refused():
    with pytest.raises(ValueError, match="'haed' of adamw is not a known module: did you mean 'head'"):
        muon_groups(Speaker(), adamw=["haed"])


def test_a_model_learns_with_them():
    torch.manual_seed(0)
    model, ids = Speaker(), torch.arange(20)
    optimizer = Muon(muon_groups(model, adamw=["head"]), lr=0.02)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(ids), ids.roll(1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < 2 < losses[0]
