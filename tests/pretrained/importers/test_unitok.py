"""UniTok: eight codebooks between ViTamin and its reverse."""

import torch
from golden_checks import check_converted
from small_checkpoints import small_checkpoint
from typer.testing import CliRunner

import vistok
from golden_weights import golden_case
from vistok.inference.commands.import_tokenizer import app

TEXT = {"text_encoder.token_embedding.weight": torch.ones(3, 2), "logit_scale": torch.zeros(())}


def test_tokens_latents_and_images_are_those_of_the_original():
    case, weights = golden_case("unitok/small_vitamin_base")
    config = check_converted(case, weights, "unitok")
    assert config.architecture.encoder.transformer.heads == 12 and config.architecture.downsample == 16


def imported(content, folder):
    torch.save(content, folder / "unitok_tokenizer.pth")
    called = CliRunner().invoke(app, [str(folder / "unitok_tokenizer.pth"), "--out", str(folder / "out")])
    assert called.exit_code == 0, called.stderr
    assert "imported as unitok" in called.stdout
    return vistok.load(folder / "out", device="cpu")


def test_a_published_file_becomes_a_tokenizer_of_any_grid(tmp_path):
    weights = small_checkpoint("unitok/small_vitamin_base")
    tokenizer = imported(
        {"trainer": {"unitok": weights | TEXT, "disc": {}}, "args": {"model": "vitamin_base"}}, tmp_path
    )
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    tokens = tokenizer.encode(images)
    assert tokens.shape == (2, 8, 2, 3) and tokenizer.vocab_size == 64
    assert torch.equal(torch.cat([tokenizer.encode(image) for image in images]), tokens)
    assert tokenizer.decode(tokens, output="tensor").shape == images.shape


def test_a_vector_for_all_positions_is_part_of_the_encoder(tmp_path):
    weights = small_checkpoint("unitok/small_vitamin_base")
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = []
    for name, factor in (("zero", 0), ("one", 1)):
        (tmp_path / name).mkdir()
        vector = torch.linspace(-1, 1, 192).square() * factor
        tokenizer = imported(weights | {"encoder.pos_embed": vector[None, None]}, tmp_path / name)
        latents.append(tokenizer.model.encode_latent(image))
    assert not torch.allclose(*latents, atol=1e-3)


def test_linear_projections_around_the_quantizer_are_imported_too(tmp_path):
    weights = small_checkpoint("unitok/small_vitamin_base")
    kept = {name: weight for name, weight in weights.items() if "quant_proj" not in name}
    for name, shape in (("quant_proj", (16, 192)), ("post_quant_proj", (192, 16))):
        kept |= {f"{name}.weight": torch.randn(shape), f"{name}.bias": torch.randn(shape[0])}
    tokenizer = imported(kept, tmp_path)
    assert tokenizer.config.architecture.projection == "linear"
    assert tokenizer.encode(torch.rand(3, 32, 32)).shape == (1, 8, 2, 2)
