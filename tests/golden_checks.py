"""Import a checkpoint with the weights of a golden case, and compare what it computes with the original code."""

import zlib

import torch
from typer.testing import CliRunner

import vistok
from golden_weights import golden_image
from vistok.inference.commands.import_tokenizer import app
from vistok.pretrained.importers.checkpoint import Checkpoint
from vistok.pretrained.importers.fit import converted
from vistok.pretrained.importers.layout import layouts
from vistok.pretrained.importers.table import IMPORTERS
from vistok.tokenizer.folder.save_load import load_tokenizer
from vistok.tokenizer.model import build_tokenizer


def check_import(case, path, family, *arguments):
    """Import the file or folder at `path` by the command, recognised as `family`, and check it; return model and config."""
    out = path.parent / "tokenizer"
    called = CliRunner().invoke(app, [*arguments, str(path), "--out", str(out)])
    assert called.exit_code == 0, called.stderr
    assert f"imported as {family}" in called.stdout
    assert vistok.load(str(out), device="cpu").fingerprint in called.stdout
    loaded = load_tokenizer(out)
    check_model(case, loaded.model)
    return loaded


def check_converted(case, weights, family):
    """Check the model of a large checkpoint, in memory and recognised as `family`; return its config."""
    (layout,) = [each for each in layouts(IMPORTERS, Checkpoint(weights, {})) if each.is_recognised()]
    assert layout.family == family
    config = layout.importer.config(layout.shapes, {})
    with torch.device("meta"):
        model = build_tokenizer(config.architecture, config.quantizer)
    model.load_state_dict(converted(layout, config, layout.tensors), assign=True)
    check_model(case, model.eval().requires_grad_(False))
    return config


def check_model(case, model):
    """Check tokens, latents and decoded images of all inputs of a case, in the memory format of `vistok.load`."""
    model = model.to(memory_format=torch.channels_last)
    for given in case["inputs"]:
        image = golden_image(given["seed"], *given["size"])
        assert zlib.crc32(image.tobytes()) == given["image_crc32"]
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        check(model, pixels.contiguous(memory_format=torch.channels_last), given, case["pixels"])


def check(model, pixels, golden, pixel_values=(-1, 1)):
    latent, tokens = model.encode_latent(pixels), model.encode(pixels)
    expected = torch.tensor(golden["tokens"]).reshape(1, model.quantizer.num_codebooks, *tokens.shape[2:])
    risky = torch.zeros(expected.numel(), dtype=torch.bool)
    risky[golden["rounding_risk"]] = True
    assert torch.equal(tokens.flatten()[~risky], expected.flatten()[~risky])
    shape = golden["latent"]["shape"]
    assert list(latent.flatten(len(shape) - 1).shape) == shape  # some originals have rows in place of a grid
    for position, name in ((0, "first"), (-1, "last")):
        channels = torch.tensor(golden["latent"][f"{name}_position_first_channels"])
        torch.testing.assert_close(latent[0, :8, position, position][: len(channels)], channels, atol=1e-5, rtol=0)
    assert abs(latent.mean().item() - golden["latent"]["mean"]) < 1e-4
    if "decoded" in golden:
        check_decoded(model.decode_latent(model.quantizer.lookup(expected)), golden["decoded"], pixel_values)


def check_decoded(pixels, golden, pixel_values):
    """Compare pixels in [-1, 1] with the values of the original, which has black and white at `pixel_values`."""
    black, white = pixel_values
    decoded = black + (pixels + 1) * (white - black) / 2
    assert list(decoded.shape) == golden["shape"]
    for c, y, x, value in golden["samples"]:
        assert abs(decoded[0, c, y, x].item() - value) < 1e-4
    for name, value in (("mean", decoded.mean()), ("min", decoded.min()), ("max", decoded.max())):
        assert abs(value.item() - golden[name]) < 1e-4
