"""The result of an extra decoder's fine-tuning: the tokenizer's folder as it was, with the decoder and its card."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...evaluation.agreement import exact_encoder
from ...evaluation.decoder_quality import decode_milliseconds
from ...images.preprocessing import to_pixels
from ...tokenizer.decoders.base import DecoderCard
from ...tokenizer.devices import default_device
from ...tokenizer.folder.decoders import load_decoder, save_decoder
from ...tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.numerics.exact import exact_batch, run_exactly
from ...tokenizer.shapes import Pixels, Tokens
from ..export import EXPORT, copy_tokenizer, export_with
from .compare import Comparison, Evaluated
from .decoder_checks import check_same_tokenizer
from .decoder_config import GenerativeConfig
from .prepare import Finetuning

FIGURES = ("psnr", "ssim", "lpips", "rfid")
"""What the card has of what was measured."""


def export_decoder(run: Finetuning, generative: GenerativeConfig, folder: Path) -> LoadedTokenizer:
    """Write the tokenizer with the decoder that the last stage left in `folder` as the result, and load both from there.

    Raises ValueError, before anything is written, when the tokenizer is another one by now.
    """
    name, result = generative.name, run.config.out / EXPORT
    check_same_tokenizer(run, folder)
    trained = load_tokenizer(folder).model
    decoder = load_decoder(folder, name, trained)
    dtype = getattr(torch, generative.export_precision)

    def save(target: Path) -> None:
        copy_tokenizer(run.folder, target, without=name)
        save_decoder(target, name, decoder, trained, dtype)

    export_with(save, result)
    loaded = load_tokenizer(result)
    loaded.model.decoders[name] = load_decoder(result, name, loaded.model)
    return loaded


def save_decoder_card(
    run: Finetuning, generative: GenerativeConfig, after: LoadedTokenizer, compared: Comparison
) -> None:
    """Write what was measured into the decoder's card, in the result."""
    decoder = after.model.extra_decoder(generative.name)
    decoder.card = DecoderCard(
        images=compared.metrics["images"],
        judge=run.split,
        figures=_figures(compared.after),
        plain=_figures(compared.before),
        milliseconds=_milliseconds(after.model, generative.name, compared.after.examples[0].original),
    )
    dtype = getattr(torch, generative.export_precision)
    save_decoder(run.config.out / EXPORT, generative.name, decoder, after.model, dtype)


def _milliseconds(model: VisualTokenizer, name: str, image: Image.Image) -> float:
    """Return the time of decoding an image alone, on the device that a fine-tuning evaluates on."""
    device = default_device()
    model.to(device)
    pixels = to_pixels(torch.from_numpy(np.array(image)).unsqueeze(0))
    size = exact_batch(None, *pixels.shape[2:])

    def decode(tokens: Tokens, seed: int) -> Pixels:
        def network(batch: Tokens) -> tuple[Pixels]:
            return (model.decode_latent(model.quantizer.codes_of(batch), name, seed),)

        (decoded,) = run_exactly(network, tokens, device, size)
        return decoded

    (milliseconds,) = decode_milliseconds([decode], exact_encoder(model)(pixels))
    model.cpu()
    return milliseconds


def _figures(evaluated: Evaluated) -> dict[str, float]:
    found = {name: evaluated.figures.get(name) for name in FIGURES}
    return {name: value for name, value in found.items() if value is not None and value == value}
