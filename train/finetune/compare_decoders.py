"""Measures the plain decoder and a new one on the same images."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ...evaluation.decoder_quality import decode_milliseconds, measure_decoder
from ...evaluation.exact_coding import Decode, exact_decoder, exact_encoder
from ...evaluation.reference_metrics import ReferenceMetrics
from ...evaluation.rows import finite_figures
from ...images.preprocessing import to_pixels
from ...tokenizer.decoders.base import PLAIN
from ...tokenizer.devices import default_device
from ...tokenizer.exact_model import placed
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import LoadedTokenizer
from ...tokenizer.model import VisualTokenizer
from ...tokenizer.numerics.exact import in_batches
from ...tokenizer.shapes import Pixels
from .compared import Comparison, Evaluated, Shown, evaluate_sides, written
from .decoder_config import GenerativeConfig
from .decoder_judge import NO_JUDGE, PERCEPTUAL, build_judge, judged_by
from .prepare import Finetuning, few


def compare_decoders(
    run: Finetuning, generative: GenerativeConfig, after: LoadedTokenizer, reference: Callable[[], ReferenceMetrics]
) -> Comparison:
    """Measure the plain decoder and that of `generative`, and write metrics.json; `after` has both.

    `reference` builds the reference metrics of each. Raises WorkFailedError if too many images are unreadable, or the two
    were measured on different images, and ValueError for images that are too small to be measured.
    """
    device = default_device()
    model = placed(after.model, device)
    judge = build_judge(generative)
    judge = judge and judge.to(device)
    decoders = {name: exact_decoder(model, name) for name in (PLAIN, generative.name)}

    def evaluation(decode: Decode) -> Callable[[Iterable[Tensor]], Evaluated]:
        return lambda images: _evaluate(after, decode, judge, images, reference())

    entries = run.images.of(few(run, generative.evaluated))
    sides = evaluate_sides(run, "decoder", entries, {name: evaluation(decode) for name, decode in decoders.items()})
    times = _times(model, list(decoders.values()), sides[PLAIN].examples[0].original)
    for each, milliseconds in zip(sides.values(), times, strict=True):
        each.figures["milliseconds"] = milliseconds
    model.cpu()
    metrics = {
        "fingerprint": fingerprint(*after),
        "judge": judged_by(run, generative),
        "decoders": {name: finite_figures(each.figures) for name, each in sides.items()},
    }
    return written(run, sides, metrics)


def _evaluate(
    loaded: LoadedTokenizer,
    decode: Decode,
    judge: nn.Module | None,
    images: Iterable[Tensor],
    reference: ReferenceMetrics,
) -> Evaluated:
    shown = Shown(reference)

    def on_batch(pixels: Pixels, decoded: list[Pixels]) -> None:
        shown.add(pixels, decoded[0])

    batches = in_batches(to_pixels(image.unsqueeze(0)) for image in images)
    quality = measure_decoder(batches, exact_encoder(loaded.model), decode, judge, on_batch=on_batch)
    figures, missing = quality.figures() | reference.compute(), reference.not_measured
    if judge is None:
        del figures[PERCEPTUAL]
        missing = {PERCEPTUAL: NO_JUDGE} | missing
    return Evaluated(loaded, figures, None, missing, shown.examples)


def _times(model: VisualTokenizer, decoders: Sequence[Decode], image: Image.Image) -> list[float]:
    """Return the time of each decoder in milliseconds, alone on an image, in turns."""
    pixels = to_pixels(torch.from_numpy(np.array(image)).unsqueeze(0))
    return decode_milliseconds(decoders, exact_encoder(model)(pixels))
