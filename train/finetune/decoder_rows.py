"""The images in the report of an extra decoder's fine-tuning, and the folders of its stages."""

from collections.abc import Sequence
from pathlib import Path

from ...report.content import Comparison, ImageRow
from ...tokenizer.decoders.base import PLAIN
from ..samples import rows_in_time
from .decoder_config import GenerativeConfig
from .prepare import Finetuning
from .stored_config import STAGES_FOLDER


def stage_folders(run: Finetuning) -> list[Path]:
    """Return the folders of the stages of this call, in order."""
    folder, generative = run.config.out / STAGES_FOLDER, run.config.generative
    return [folder / name for name in generative.stages] if generative else sorted(folder.iterdir())


def decoder_rows(
    run: Finetuning, generative: GenerativeConfig, plain: Sequence[Comparison], new: Sequence[Comparison]
) -> dict[str, list[ImageRow]]:
    """Return images beside what both decoders make of them, and samples in the course of the last stage, by heading."""
    rows = [
        ImageRow(one.label, one.original, {PLAIN: one.reconstruction, generative.name: other.reconstruction})
        for one, other in zip(plain, new, strict=True)
    ]
    last = stage_folders(run)[-1]
    return {"Plain and new decoder": rows, f"Samples over time, stage {last.name}, seed 0": rows_in_time(last)}
