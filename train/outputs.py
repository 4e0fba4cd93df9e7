"""What a run writes for its user: the exported tokenizer, the report, and validation images beside their reconstructions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor

from ..cli.user_errors import describe_error
from ..images.preprocessing import to_images, to_pixels
from ..images.saving import comparison_sheet, save_png
from ..report.content import Comparison
from ..tokenizer.model import VisualTokenizer
from .checkpoints.checkpoint import checkpoint_step, good_checkpoint
from .checkpoints.states import ema_state
from .export import EXPORT, export_tokenizer, exported_step
from .finite_check import DivergedError
from .report import ENDED, write_run_report
from .run import Run
from .seeding import preserve_rng_state
from .validation import Validation

SAMPLES_FOLDER = "samples"
SAMPLES = 8
"""Images in the report and on a sheet."""


def write_outputs(run: Run, validation: Validation, warn: Callable[[str], None], ending: str = "") -> None:
    """Write the EMA weights as they are now, and the report, on the main process only and without syncing with others.

    `ending` is a sentence that says why the run ended early. If the report fails, that is a warning; if the export fails,
    it raises OSError.
    """
    if not run.accelerator.is_main_process:
        return
    with preserve_rng_state():  # building the quantizer to export draws weights
        export_tokenizer(run.config.run.out / EXPORT, run.ema.model, run.config, run.ema.updates)
        with best_effort("the report", warn):
            write_run_report(run, comparisons(run.ema.model, validation.samples(SAMPLES)), [ending] if ending else [])


def write_final_outputs(run: Run, validation: Validation, warn: Callable[[str], None], error: BaseException) -> None:
    """Write what is left when `error` ends a run: the EMA weights, after a divergence those of the last good checkpoint.

    An existing export that is newer than that checkpoint stays. Nothing is written when there is no checkpoint although
    the first was to be saved: the next call would take such an export for the remains of a run, and refuse to start.
    """
    if not run.accelerator.is_main_process or not run.ema.updates:
        return
    reached = run.ema.updates
    first = min(run.config.run.save_every, run.config.run.steps)
    if reached >= first and good_checkpoint(run.config.run.out / "checkpoints")[0] is None:
        return
    why = describe_error(error) if isinstance(error, Exception) else "it was interrupted."
    with best_effort("the tokenizer", warn):
        if isinstance(error, DivergedError) and not _load_last_good(run):
            return
        write_outputs(run, validation, warn, f"{ENDED} {reached} of {run.config.run.steps}: {why}")


def _load_last_good(run: Run) -> bool:
    """Load the EMA weights of the newest good checkpoint; return False if there is none, or a newer export."""
    checkpoint, _ = good_checkpoint(run.config.run.out / "checkpoints")
    if checkpoint is None or checkpoint_step(checkpoint) < (exported_step(run.config.run.out / EXPORT) or 0):
        return False
    run.ema.load_state_dict(ema_state(checkpoint))
    return True


def write_samples(run: Run, step: int, images: list[Tensor]) -> None:
    """Write a sheet of images, uint8 `h w c`, and their reconstructions, on the main process only."""
    if run.accelerator.is_main_process:
        folder = run.config.run.out / SAMPLES_FOLDER
        pairs = [(pair.original, pair.reconstruction) for pair in comparisons(run.ema.model, images)]
        save_png(folder / f"step-{step:07d}.png", comparison_sheet(pairs))


@torch.inference_mode()
def comparisons(model: VisualTokenizer, images: list[Tensor]) -> list[Comparison]:
    """Return the first images, uint8 `h w c`, with their reconstructions."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    found = []
    for count, image in enumerate(images[:SAMPLES], 1):
        reconstruction = model(to_pixels(image.unsqueeze(0)).to(device)).pixels
        found.append(Comparison(f"image {count}", Image.fromarray(image.numpy()), to_images(reconstruction)[0]))
    model.train(was_training)
    return found


@contextmanager
def best_effort(what: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Turn an error of the body into a warning that `what` could not be written."""
    try:
        yield
    except Exception as error:
        warn(f"{what} could not be written: {describe_error(error)}")
