"""Measures the tokenizer before and after a fine-tuning on the same images."""

from collections.abc import Callable, Iterable

from torch import Tensor

from ...evaluation.quality import measure
from ...evaluation.reference_metrics import ReferenceMetrics
from ...evaluation.rows import finite_figures
from ...evaluation.usage import codes_text
from ...images.preprocessing import to_pixels
from ...tokenizer.devices import default_device
from ...tokenizer.folder.fingerprint import fingerprint
from ...tokenizer.folder.save_load import LoadedTokenizer
from ...tokenizer.numerics.exact import in_batches
from .compared import Comparison, Evaluated, Shown, evaluate_sides, written
from .prepare import Finetuning


def compare(run: Finetuning, after: LoadedTokenizer, reference: Callable[[], ReferenceMetrics]) -> Comparison:
    """Measure both tokenizers and write metrics.json; `reference` builds the reference metrics of each.

    Raises WorkFailedError if too many images are unreadable, or the two were measured on different images.
    """

    def evaluation(loaded: LoadedTokenizer) -> Callable[[Iterable[Tensor]], Evaluated]:
        return lambda images: _evaluate(loaded, images, reference())

    tokenizers = {"before": evaluation(run.before), "after": evaluation(after)}
    sides = evaluate_sides(run, "tokenizer", run.images.of(run.val), tokenizers)
    metrics = {
        side: {"fingerprint": fingerprint(*each.loaded), **finite_figures(each.figures)} for side, each in sides.items()
    }
    sizes = (codes_text(each.loaded.model.quantizer.vocab_size) for each in sides.values())
    return written(run, sides, metrics, [["codes", *sizes, ""]])


def _evaluate(loaded: LoadedTokenizer, images: Iterable[Tensor], reference: ReferenceMetrics) -> Evaluated:
    shown = Shown(reference)
    batches = in_batches(to_pixels(image.unsqueeze(0)) for image in images)
    quality, counts = measure(loaded.model.to(default_device()), batches, shown.add)
    loaded.model.cpu()
    return Evaluated(loaded, quality._asdict() | reference.compute(), counts, reference.not_measured, shown.examples)
