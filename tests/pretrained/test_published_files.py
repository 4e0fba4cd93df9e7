"""Each way in which a checkpoint is published: a file, a folder, shards with an index, two archives."""

import io
import json

import pytest
import torch
from golden_checks import check_model
from huggingface_hub import ModelCard
from safetensors.torch import save

from golden_weights import golden_case
from vistok.pretrained.find import find_tokenizer
from vistok.pretrained.public import PUBLIC
from vistok.tokenizer.folder.save_load import load_tokenizer


def test_a_folder_of_the_repository_is_imported_with_its_config(hub, capfd):
    golden, tensors = golden_case("diffusers/small")
    entry = PUBLIC["amused-256"]
    config = json.dumps({"_class_name": "VQModel", "act_fn": "silu"}).encode()
    hub.add(
        entry.repository,
        {
            "vqvae/config.json": config,
            "vqvae/diffusion_pytorch_model.safetensors": save(tensors),
            "model_index.json": b"{}",
        },
    )
    found = load_tokenizer(find_tokenizer("amused-256"))
    check_model(golden, found.model)
    assert found.config.origin.checkpoint == "diffusion_pytorch_model.safetensors"
    capfd.readouterr()
    hub.add(
        entry.repository,
        {"vqvae/config.json": b'{"act_fn": "relu"}', "vqvae/diffusion_pytorch_model.safetensors": save(tensors)},
    )
    with pytest.raises(
        ValueError, match=r"^amused-256@main could not be imported \(diffusion_pytorch_model\.safetensors cannot"
    ):
        find_tokenizer("amused-256@main")
    # Weights that did not change are not downloaded again.
    assert "downloading 1 MB from amused/amused-256" in capfd.readouterr().err


def test_of_many_shards_those_with_the_tokenizer_are_downloaded(hub):
    _, tensors = golden_case("chameleon/small")
    prefix = PUBLIC["chameleon"].prefix
    own = {
        f"{prefix}{name}": value for name, value in tensors.items() if not name.startswith(("decoder.", "post_quant"))
    }
    names = sorted(own)
    shards = {"model-2.safetensors": names[: len(names) // 2], "model-3.safetensors": names[len(names) // 2 :]}
    index = {name: file for file, held in shards.items() for name in held} | {
        "model.layers.0.weight": "model-1.safetensors",
        "lm_head.weight": "model-3.safetensors",
    }
    files = {file: save({name: own[name] for name in held}) for file, held in shards.items()}
    files["model-1.safetensors"] = b"a language model" * 1000
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": index}).encode()
    hub.add(PUBLIC["chameleon"].repository, files | {"config.json": b"{}"})
    found = load_tokenizer(find_tokenizer("chameleon"))
    assert not hub.asked("model-1.safetensors") and found.config.architecture.encoder_only
    assert found.config.origin.checkpoint == "chameleon-7b"
    card = ModelCard.load(find_tokenizer("chameleon") / "README.md").data
    assert (card.license, card.license_name) == ("other", "chameleon-research-license-non-commercial")
    assert card.pipeline_tag == "image-feature-extraction"


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (b'{"weight_map": {"lm_head": "a.safetensors"}}', "lists no tensor model.vqmodel.*"),
        (
            b'{"weight_map": {"model.vqmodel.a": "../a.safetensors"}}',
            "has model.vqmodel.a in '../a.safetensors', which is no file beside it",
        ),
        (b"{}", "lists no files of weights"),
    ],
)
def test_an_index_without_the_tokenizer_is_named(hub, index, reason):
    hub.add(PUBLIC["chameleon"].repository, {"model.safetensors.index.json": index})
    changed = f"chameleon has changed at URL/facebook/chameleon-7b: model.safetensors.index.json {reason}"
    with pytest.raises(ValueError, match=hub.says(f"{changed}: update vistok, or ...")):
        find_tokenizer("chameleon")


def archive(tensors):
    """Return tensors as a TorchScript archive of nested modules."""
    tree = torch.nn.Module()
    for name, value in tensors.items():
        module, *parts = tree, *name.split(".")
        for part in parts[:-1]:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        module.register_buffer(parts[-1], value)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(tree), file)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_an_encoder_and_a_decoder_in_two_archives_are_one_tokenizer(hub):
    golden, tensors = golden_case("cosmos/small_di16")
    halves = {"encoder.jit": ("encoder.", "quant_conv."), "decoder.jit": ("decoder.", "post_quant_conv.")}
    files = {
        file: archive({name: value for name, value in tensors.items() if name.startswith(starts)})
        for file, starts in halves.items()
    }
    hub.add(PUBLIC["cosmos-di16x16"].repository, files | {"autoencoder.jit": b"both", "config.json": b"{}"})
    found = load_tokenizer(find_tokenizer("cosmos-di16x16"))
    check_model(golden, found.model)
    assert found.config.origin.checkpoint == "Cosmos-0.1-Tokenizer-DI16x16" and not hub.asked("autoencoder")


def test_a_file_whose_name_is_a_pattern_is_found(hub):
    golden, tensors = golden_case("simvq/small")
    file = io.BytesIO()
    torch.save({"state_dict": tensors}, file)
    files = {"vq_log/simvq_1k/epoch=49-step=250250.ckpt": file.getvalue(), "vq_log/simvq_8k/a.ckpt": b""}
    hub.add("zyx123/SimVQ", files)
    found = load_tokenizer(find_tokenizer("simvq-1k"))
    check_model(golden, found.model)
    assert found.config.origin.checkpoint == "epoch=49-step=250250.ckpt"
