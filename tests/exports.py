"""Tokenizers to export, and the command that exports them."""

from typer.testing import CliRunner

from samples import small_tokenizer
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.networks.convolutional import ConvolutionalConfig
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.commands.export_tokenizer import app

VQGAN = {
    "latent_channels": 12,
    "encoder": {"channels": [32, 32, 64], "blocks": [1, 1, 1], "attention": [2]},
    "decoder": {"channels": [32, 32, 64], "blocks": [2, 2, 2], "attention": [1]},
}
"""An f4 network with everything that a VQModel of diffusers can have."""


def export(*arguments, code=0):
    """Run export-tokenizer, and return what it says."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def vqgan_folder(folder, quantizer=None, size=32, **changes):
    """Save a small tokenizer of the VQGAN family, with `changes` of its architecture, whose tokens are all different."""
    architecture = ConvolutionalConfig.model_validate({**VQGAN, **changes})
    model = small_tokenizer(quantizer or {"name": "vq", "dim": 6, "codebook_size": 100}, architecture=architecture)
    save_tokenizer(folder, model, architecture, PreprocessingConfig(size=size), "# small\n")
    return folder
