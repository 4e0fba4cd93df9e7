"""The new quantizer of a fine-tuning: any entry of the table, or the old one grown."""

from types import SimpleNamespace
from typing import Literal

import pytest
import torch
from accelerate import Accelerator

import vistok
from quantizer_table import EVERY, name_of
from runs import finetune
from samples import small_tokenizer
from toy_quantizer import ToyQuantizer
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.quantizers import QUANTIZERS, QuantizerConfig, build_quantizer
from vistok.train.codebook.maintenance import CodebookConfig
from vistok.train.finetune.config import FinetuneConfig, FitConfig
from vistok.train.finetune.fit_quantizer import RECONSTRUCTION, fit_quantizer
from vistok.train.finetune.new_quantizer import codebook_config, grow_codebook, new_quantizer_config
from vistok.train.finetune.swap_quantizer import LatentPairs, between_linear_maps
from vistok.train.losses.terms import quantizer_weights


class ToyConfig(QuantizerConfig):
    name: Literal["toy"] = "toy"
    dim: int
    codebook_size: int

    def build(self):
        return ToyQuantizer(self, self.dim, self.codebook_size)


def test_a_quantizer_from_outside_is_swapped_in_by_its_name(fsq_folder, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(QUANTIZERS, "toy", ToyConfig)
    finetune(fsq_folder, photos, tmp_path, "--quantizer", "toy", "--codebook-size", 16, "--steps", 1)
    loaded = vistok.load(tmp_path / "export")
    assert loaded.config.quantizer == ToyConfig(dim=3, codebook_size=16)
    assert loaded.vocab_size == 16
    with pytest.raises(ValueError, match="grow_to is 20, but the quantizer of M, toy, has no codebook whose codes can"):
        chosen({"name": "toy", "dim": 3, "codebook_size": 16}, grow_to=20)


def chosen(old, **changes):
    config = FinetuneConfig.model_validate({"model": "M", "out": "O", "data": {"train": ["D"]}, **changes})
    model = small_tokenizer(old).eval()
    return new_quantizer_config(
        config, SimpleNamespace(model=model, config=SimpleNamespace(quantizer=model.quantizer.config))
    )


VQ = {"name": "vq", "dim": 3, "codebook_size": 8}
FSQ = {"name": "fsq", "levels": [5, 5, 5]}


@pytest.mark.parametrize("old, squash", [(FSQ, "tanh"), (VQ, "none"), ({"name": "bsq", "dim": 3}, "none")])
def test_codes_are_compared_where_the_decoder_knows_the_latents(old, squash):
    """FSQ bounds its latents by tanh."""
    assert chosen(old, quantizer=VQ).squash == squash
    assert chosen(old, quantizer=FSQ).name == "fsq"


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_every_quantizer_of_the_table_replaces_a_bounded_one(values):
    if values["name"] == "multiscale":
        with pytest.raises(
            ValueError, match="quantizer is multiscale, which needs whole grids and cannot be fitted to"
        ):
            chosen(FSQ, quantizer=values)
        return
    config = chosen(FSQ, quantizer=values)
    assert parse_choice(QUANTIZERS, config.model_dump(), "quantizer") == config, "the exported folder can be loaded"
    quantizer, latents = config.build(), torch.randn(64, 3)
    fitted = between_linear_maps(quantizer, LatentPairs(latents, latents.tanh()))
    weights = quantizer_weights(quantizer, commitment=0.0) | {RECONSTRUCTION: 1.0}
    steps = FitConfig(steps=2, batch_size=32)
    fit_quantizer(fitted, latents, latents.tanh(), weights, steps, CodebookConfig(), Accelerator(cpu=True), seed=0)
    result = fitted.quantizer(torch.randn(1, quantizer.dim, 3, 3))
    assert torch.equal(quantizer.lookup(result.tokens), result.latent) and result.latent.isfinite().all()


def test_a_grown_quantizer_is_the_old_one_with_more_codes():
    assert chosen(VQ, grow_to=9) == build_quantizer({**VQ, "codebook_size": 9}).config
    with pytest.raises(ValueError, match="grow_to is 8, but M has 8 codes already: give a larger number"):
        chosen(VQ, grow_to=8)
    mlp = {**VQ, "name": "simvq", "projection": "mlp"}
    for old in (FSQ, mlp, {"name": "residual", "depth": 2, "quantizer": VQ}):
        with pytest.raises(ValueError, match=f"quantizer of M, {old['name']}, has no codebook whose codes can be set"):
            chosen(old, grow_to=9)


def test_k_means_gets_all_latents_where_codes_can_be_set():
    assert codebook_config(build_quantizer(FSQ), 7).initialization == "random"
    config = codebook_config(build_quantizer(VQ), 33)
    assert config.initialization == "kmeans" and config.vectors_per_code == 4
    with pytest.raises(ValueError, match="The images give 7 latents for 8 codes: give more images, or a smaller"):
        codebook_config(build_quantizer(VQ), 7)


def test_a_grown_codebook_keeps_its_codes_and_takes_far_latents():
    old = build_quantizer({"name": "vq", "dim": 2, "codebook_size": 4}).eval()
    old.codebook.replace(torch.arange(4), torch.zeros(4, 2))
    near, far = torch.randn(500, 2) * 1e-3, torch.randn(100, 2) + 10
    new = build_quantizer({"name": "vq", "dim": 2, "codebook_size": 12})
    grow_codebook(new, old, torch.cat([near, far]), seed=0)
    assert torch.equal(new.codes()[:4], old.codes())
    assert (new.codes()[4:].norm(dim=1) > 5).all() and len(new.codes()[4:].unique(dim=0)) == 8
    with pytest.raises(ValueError, match="The images give 5 latents for 8 new codes: give more images"):
        grow_codebook(new, old, near[:5], seed=0)
