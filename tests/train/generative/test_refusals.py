"""What a run of an extra decoder refuses, each in a sentence, before it trains anything."""

import json
import re
import shutil

import pytest
import torch

from decoder_runs import decoder_config, train_decoder
from runs import ADVERSARIAL, config, new_process
from samples import ARCHITECTURE, small_tokenizer
from vistok.tokenizer.folder.decoder_digest import decoder_digest
from vistok.tokenizer.folder.decoders import load_decoder
from vistok.tokenizer.folder.fingerprint import fingerprint
from vistok.tokenizer.folder.save_load import load_tokenizer, save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.export_run import export_run
from vistok.train.run import Run


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.train=[decoder]",
            r"decoder trains an extra decoder of a frozen tokenizer, but model.train is \['decoder'\]",
        ),
        (
            "model.init_from=null",
            "decoder trains an extra decoder, but model.init_from names no tokenizer: give its folder",
        ),
        ("codebook.revive_every=2", "decoder trains with frozen codes, but there is a section codebook: leave it out"),
        (
            "run.export_training_state=true",
            "decoder trains with a frozen quantizer, whose files are exported as they are, but run.export_training_state "
            "is true: make it false, or export the tokenizer's own run with it",
        ),
        ("decoder.name=plain", "The name of a decoder is 'plain', but must be up to 64 letters"),
        ("decoder.name=a/b", "The name of a decoder is 'a/b', but must be"),
        ("decoder.recipe.name=flows", "did you mean 'flow'"),
        ("decoder.recipe.steps=26", "decoder.recipe.steps is 26, but must be at most 25"),
        (
            "decoder.network={name: noise_channels}",
            "decoder.network is noise_channels, but the recipe flow needs a network",
        ),
        ("losses={l2: 1.0}", "losses.flow has no weight: set losses.flow"),
        ("losses={flow: 1.0, matching: 1.0}", "losses.matching has a weight, but this model has no such term"),
        (
            "model.quantizer.codebook_size=299",
            "model.quantizer is not that of .*, whose tokenizer stays as it is: copy it",
        ),
        ("model.preprocessing.size=128", "model.preprocessing is not that of"),
    ],
)
def test_mistakes_in_a_config(tmp_path, tokenizer_folder, override, message):
    new_process()
    with pytest.raises(ValueError, match=message):
        Run(decoder_config(tmp_path, tokenizer_folder, "flow", override))


def test_nothing_to_train(tmp_path):
    with pytest.raises(
        ValueError, match="model.train is empty, so nothing would be trained: name encoder, quantizer or"
    ):
        config(tmp_path, "model.train=[]")


def test_noise_channels_take_one_step(tmp_path, tokenizer_folder):
    new_process()
    with pytest.raises(ValueError, match="decoder.recipe.steps is 2, but noise_channels takes at most 1: lower it"):
        Run(decoder_config(tmp_path, tokenizer_folder, "gan", "decoder.recipe={name: gan, steps: 2}"))


def test_the_fake_network_is_in_place_of_a_discriminator(tmp_path, flow_folder):
    losses = "losses={matching: 1.0, l1: 1.0, adversarial: 1.0}"
    with pytest.raises(
        ValueError, match="the recipe fgm has a fake network in place of a discriminator: leave the loss out"
    ):
        decoder_config(tmp_path, flow_folder, "fgm", losses, "adversarial={}", teacher=flow_folder)


def test_a_tokenizer_without_a_decoder(tmp_path):
    folder, alone = tmp_path / "alone", ARCHITECTURE.model_copy(update={"encoder_only": True})
    save_tokenizer(folder, small_tokenizer(architecture=alone), alone, PreprocessingConfig(size=64), "# alone\n")
    new_process()
    with pytest.raises(ValueError, match="alone has no decoder, because its checkpoint has none, so there is nothing"):
        Run(decoder_config(tmp_path / "run", folder, "flow"))


@pytest.mark.parametrize("recipe", ["distill", "fgm"])
def test_a_teacher_that_is_missing_or_of_another_kind(tmp_path, tokenizer_folder, flow_folder, recipe):
    def refused(teacher, message):
        new_process()
        with pytest.raises(ValueError, match=message):
            Run(decoder_config(tmp_path / "run", tokenizer_folder, recipe, teacher=teacher))

    refused(tmp_path / "nowhere", "nowhere is not a tokenizer folder")
    refused(
        tokenizer_folder,
        "decoder.recipe.teacher is .*, which has no decoder generative: train it first with the recipe",
    )
    gan = train_decoder(tmp_path / "gan", tokenizer_folder, "gan", steps=1)
    refused(gan, "whose decoder generative is a noise_channels and no flow: give a folder with one that was trained")
    other = tmp_path / "other"
    save_tokenizer(other, small_tokenizer(seed=1), ARCHITECTURE, PreprocessingConfig(size=64), "# other\n")
    flow = train_decoder(tmp_path / "flow", other, "flow", steps=1)
    refused(
        flow,
        "but its tokenizer or its plain decoder is another than that of model.init_from: give a teacher of the same",
    )


def test_a_checkpoint_of_another_recipe(tmp_path, flow_folder):
    train_decoder(tmp_path, flow_folder, "flow", steps=2)
    with pytest.raises(ValueError, match=r"holds a run with decoder.recipe.(name|fake_steps|teacher|steps) "):
        train_decoder(tmp_path, flow_folder, "distill", teacher=flow_folder, steps=4)


def test_a_run_that_goes_on_from_another_tokenizer(tmp_path, tokenizer_folder):
    """Its export would have the files of one tokenizer, and a decoder of another."""
    folder, run = tmp_path / "tokenizer", tmp_path / "run"
    shutil.copytree(tokenizer_folder, folder)
    train_decoder(run, folder, "flow", steps=2)
    shutil.move(folder, tmp_path / "moved")
    train_decoder(run, tmp_path / "moved", "flow", steps=3)
    other = small_tokenizer(seed=1)
    save_tokenizer(tmp_path / "moved", other, ARCHITECTURE, PreprocessingConfig(size=64), "# other\n")
    message = "moved, but its tokenizer or its plain decoder is another than that of the checkpoint: give the one that"
    with pytest.raises(ValueError, match=message):
        train_decoder(run, tmp_path / "moved", "flow", steps=4)
    with pytest.raises(ValueError, match=message):
        export_run(run, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_a_fake_network_is_not_taken_for_a_discriminator(tmp_path, flow_folder):
    train_decoder(tmp_path, flow_folder, "fgm", teacher=flow_folder, steps=2)
    facts = json.loads((tmp_path / "checkpoints" / "step-0000002" / "facts.json").read_text())
    assert facts["opponent"] == "fake network" and facts["scale"] > 0
    with pytest.raises(ValueError, match="holds a fake network, but this run has none: use another run.out, or the"):
        train_decoder(tmp_path, flow_folder, "distill", teacher=flow_folder, steps=4)
    losses = ["losses={distillation: 1.0, l1: 1.0, adversarial: 0.1}", *ADVERSARIAL]
    with pytest.raises(ValueError, match="holds no discriminator, but this run has one: use another run.out, or the"):
        train_decoder(tmp_path, flow_folder, "distill", *losses, teacher=flow_folder, steps=4)


def test_a_decoder_that_cannot_be_loaded_is_not_silently_trained_anew(tmp_path, flow_folder):
    folder = tmp_path / "broken"
    shutil.copytree(flow_folder, folder)
    (folder / "decoders" / "generative" / "model.safetensors").write_bytes(b"no")
    new_process()
    with pytest.raises(ValueError, match="generative/model.safetensors is damaged"):
        Run(decoder_config(tmp_path / "run", folder, "flow"))


OTHER_NETWORKS = {
    "another kind": ("gan", "decoder.network.noise=2", "it is residual_unet, not noise_channels"),
    "other keys": (
        "flow",
        "decoder.network={name: residual_unet, channels: [8, 12], blocks: 2, time_channels: 16}",
        "blocks is 1, not 2, time_channels is 8, not 16",
    ),
    "smaller shapes": (
        "flow",
        "decoder.network={name: residual_unet, channels: [8, 8], blocks: 1, time_channels: 8}",
        "channels is [8, 12], not [8, 8]",
    ),
}


@pytest.mark.parametrize("case", OTHER_NETWORKS)
def test_a_stored_decoder_of_another_network_is_not_silently_trained_anew(tmp_path, flow_folder, case):
    recipe, override, difference = OTHER_NETWORKS[case]
    place = flow_folder / "decoders" / "generative" / "config.json"
    advice = f", or as decoder.network the one in {place}" if recipe == "flow" else ""
    message = (
        f"{flow_folder} already has a decoder generative, of another network than the one to train ({difference}): "
        f"use another decoder.name{advice}."
    )
    new_process()
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Run(decoder_config(tmp_path / "run", flow_folder, recipe, override))
    new_process()
    Run(decoder_config(tmp_path / "run", flow_folder, recipe, override, "decoder.name=other"))


WIDER = "decoder.network={name: residual_unet, channels: [8, 16], blocks: 1, time_channels: 8}"


def test_a_narrower_stored_decoder_is_started_from(tmp_path, flow_folder):
    new_process()
    run = Run(decoder_config(tmp_path / "run", flow_folder, "flow", WIDER))
    stored = load_decoder(flow_folder, "generative", load_tokenizer(flow_folder).model)
    assert run.recipe.decoder.scale == stored.scale
    taken, wide = stored.noise_in.weight, run.recipe.decoder.halvings[0].conv.weight
    assert torch.equal(run.recipe.decoder.noise_in.weight.cpu(), taken)
    assert torch.equal(wide[:12].cpu(), stored.halvings[0].conv.weight)


def test_a_checkpoint_is_exported_also_when_the_folder_has_got_a_decoder_of_another_network(tmp_path, flow_folder):
    folder = tmp_path / "tokenizer"
    shutil.copytree(flow_folder, folder, ignore=shutil.ignore_patterns("decoders"))
    train_decoder(tmp_path / "run", folder, "gan", steps=2)
    shutil.copytree(flow_folder / "decoders", folder / "decoders")
    out = export_run(tmp_path / "run", tmp_path / "out", None).folder
    found = load_decoder(out, "generative", load_tokenizer(out).model)
    assert found.config.name == "noise_channels"


def test_the_decoder_of_a_run_fits_its_export_when_weights_have_negative_zeros(tmp_path):
    """An average of -0.0 is 0.0, which is another digest: frozen weights keep their bits."""
    model = small_tokenizer()
    with torch.no_grad():
        for part in (model.encoder, model.decoder):
            next(part.parameters()).view(-1)[:2] = -0.0
    save_tokenizer(tmp_path / "zeros", model, ARCHITECTURE, PreprocessingConfig(size=64), "# zeros\n")
    export = train_decoder(tmp_path / "run", tmp_path / "zeros", "flow", steps=12)
    loaded = load_tokenizer(export)
    assert fingerprint(*loaded) == fingerprint(*load_tokenizer(tmp_path / "zeros"))
    assert load_decoder(export, "generative", loaded.model).trained_for == decoder_digest(loaded.model)
