"""LlamaGen's VQ-8 and VQ-16, and Janus in both layouts."""

import pytest
import torch
from golden_checks import check_import
from safetensors.torch import save_file
from typer.testing import CliRunner

from golden_weights import golden_case, golden_image
from vistok.inference.commands.import_tokenizer import app
from vistok.tokenizer.folder.save_load import load_tokenizer


@pytest.mark.parametrize("name", ["llamagen/small_f16", "llamagen/small_f8"])
def test_tokens_latents_and_images_are_those_of_the_original(name, tmp_path):
    case, weights = golden_case(name)
    torch.save({"model": weights, "steps": 3}, tmp_path / "published.pt")
    _, config = check_import(case, tmp_path / "published.pt", "llamagen")
    assert config.preprocessing.size == 256 and config.architecture.downsample == int(name[-2:].strip("f"))
    assert config.origin.family == "llamagen" and config.origin.checkpoint == "published.pt"


def test_janus_of_the_original_is_llamagen_under_a_prefix_at_another_size(tmp_path):
    case, weights = golden_case("llamagen/small_f8")
    others = {"language_model.norm.weight": torch.ones(3), "vision_model.x": torch.ones(2)}
    torch.save(
        {f"gen_vision_model.{name}": weight for name, weight in weights.items()} | others, tmp_path / "janus.bin"
    )
    _, config = check_import(case, tmp_path / "janus.bin", "llamagen")
    assert config.preprocessing.size == 384 and config.origin.licence == "DeepSeek Model License"


def test_janus_of_transformers_has_the_tokens_of_the_original_rule(tmp_path):
    case, weights = golden_case("llamagen/janus")
    prefixed = {f"model.vqmodel.{name}": weight for name, weight in weights.items()}
    save_file(prefixed | {"model.language_model.norm.weight": torch.ones(3)}, tmp_path / "model.safetensors")
    model, config = check_import(case, tmp_path / "model.safetensors", "llamagen")
    assert config.preprocessing.size == 384
    given = case["inputs"][0]
    assert tokens_of(model, given) != given["tokens_of_the_hf_class"]


def test_a_mistaken_similarity_would_be_seen(tmp_path):
    """The data tell the families apart: under another rule of selection most tokens differ."""
    case, weights = golden_case("llamagen/small_f8")
    save_file(weights, tmp_path / "a.safetensors")
    assert CliRunner().invoke(app, [str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "out")]).exit_code == 0
    model, _ = load_tokenizer(tmp_path / "out")
    given = case["inputs"][0]
    latent = model.encode_latent(pixels_of(given)).permute(0, 2, 3, 1).reshape(-1, 8)
    nearest = torch.cdist(latent, weights["quantize.embedding.weight"]).argmin(dim=1)
    assert (nearest == torch.tensor(given["tokens"])).float().mean() < 0.8


def tokens_of(model, given):
    return model.encode(pixels_of(given)).flatten().tolist()


def pixels_of(given):
    return torch.from_numpy(golden_image(given["seed"], *given["size"])).permute(2, 0, 1)[None].float() / 127.5 - 1
