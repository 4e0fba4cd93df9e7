"""Chameleon's VQGAN: the original file, and the part of transformers' model, which has no decoder and another white."""

import pytest
import torch
from golden_checks import check_import
from safetensors.torch import save_file
from typer.testing import CliRunner

from golden_weights import golden_case, golden_image
from vistok.inference.commands.import_tokenizer import app
from vistok.tokenizer.folder.save_load import load_tokenizer


def test_tokens_latents_and_images_are_those_of_the_original(tmp_path):
    case, weights = golden_case("chameleon/small")
    torch.save({"state_dict": weights}, tmp_path / "vqgan.ckpt")
    _, config = check_import(case, tmp_path / "vqgan.ckpt", "chameleon")
    assert config.preprocessing.size == 512 and config.preprocessing.resampling == "lanczos"


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Chameleon as transformers has it, imported: the case, and the folder."""
    folder = tmp_path_factory.mktemp("chameleon")
    case, weights = golden_case("chameleon/small")
    kept = {f"model.vqmodel.{name}": weight for name, weight in weights.items() if not name.startswith("decoder.")}
    save_file(kept | {"lm_head.weight": torch.zeros(4, 2)}, folder / "model.safetensors")
    called = CliRunner().invoke(app, [str(folder / "model.safetensors"), "--out", str(folder / "out")])
    assert called.exit_code == 0, called.stderr
    return case, folder / "out"


def test_the_part_of_transformers_sees_white_as_its_processor_makes_it(part):
    case, folder = part
    model, config = load_tokenizer(folder)
    assert config.architecture.encoder_only and config.architecture.pixel_values == (-1, pytest.approx(0.989))
    for given in case["inputs"]:
        image = torch.from_numpy(golden_image(given["seed"], *given["size"])).permute(2, 0, 1)[None].float()
        assert model.encode(image / 127.5 - 1).flatten().tolist() == given["hf_processor_scale"]["tokens"]
        torch.testing.assert_close(
            model.encode_latent(image / 127.5 - 1),
            model.quantizer_in(model.encoder(image * 0.0078 - 1)),
            atol=1e-5,
            rtol=0,
        )


def test_the_card_says_so(part):
    card = " ".join((part[1] / "README.md").read_text().split())
    assert "multiplies pixels by 0.0078 instead of 2/255 and subtracts 1, so white is 0.989" in card
    assert "Chameleon Research License" in card and "has no decoder" in card


def test_it_cannot_decode(part):
    model, _ = load_tokenizer(part[1])
    with pytest.raises(ValueError, match=r"^This tokenizer has no decoder, because its checkpoint has none: import"):
        model.decode(torch.zeros(1, 1, 2, 2, dtype=torch.int64))
