"""A family that somebody defines outside the package imports like those within it."""

import numpy as np
import torch
from typer.testing import CliRunner

import vistok
from samples import ARCHITECTURE, noise_image, small_tokenizer
from vistok.inference.commands.import_tokenizer import app
from vistok.pretrained.importers.base import Importer
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.folder.config_json import TokenizerConfig
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.tokenizer.quantizers.vector.quantizer import VQConfig


class ToyTranslation:
    """Names begin with toy, and the codebook is stored transposed."""

    def config(self, shapes, settings):
        dim, codes = shapes["toy.codes"]
        quantizer = VQConfig(dim=dim, codebook_size=codes)
        return TokenizerConfig(
            architecture=ARCHITECTURE, quantizer=quantizer, preprocessing=PreprocessingConfig(size=32)
        )

    def weights(self, config, names, take):
        codebook = "quantizer.codebook.table"
        return {name: take(f"toy.{name}") for name in names if name != codebook} | {codebook: take("toy.codes").T}


TOY = Importer(
    title="Toy",
    source="https://example.org/toy",
    licence="MIT",
    recognises=lambda shapes: "toy.codes" in shapes,
    translation=ToyTranslation(),
    notes=("Both resize alike.",),
    ignored=r"toy\.step",
)


def test_a_family_from_outside_imports_from_the_command_to_the_tokens(tmp_path, monkeypatch):
    monkeypatch.setitem(IMPORTERS, "toy", (TOY,))
    model = small_tokenizer().eval()
    weights = {f"toy.{name}": value for name, value in model.state_dict().items()}
    weights["toy.codes"] = weights.pop("toy.quantizer.codebook.table").T.contiguous()
    torch.save(weights | {"toy.step": torch.tensor(7)}, tmp_path / "toy.pt")
    called = CliRunner().invoke(app, [str(tmp_path / "toy.pt"), "--out", str(tmp_path / "tokenizer")])
    assert (called.exit_code, called.stderr) == (0, "") and "imported as toy" in called.stdout

    tokenizer = vistok.load(str(tmp_path / "tokenizer"), device="cpu")
    image = noise_image(32, 32)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1
    assert torch.equal(tokenizer.encode(image), model.encode(pixels))
    card = (tmp_path / "tokenizer" / "README.md").read_text()
    assert (
        "\nToy: a tokenizer with the quantizer vq, one token for " in card
        and "https://example.org/toy" in card
        and "- Both resize alike." in card
        and "weights: MIT." in card
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer", "toy.pt"]
