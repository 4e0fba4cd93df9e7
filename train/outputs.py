"""What a run writes for its user: the exported tokenizer and the report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..cli.user_errors import describe_error
from .checkpoints.checkpoint import checkpoint_step, good_checkpoint
from .checkpoints.states import ema_state
from .export import EXPORT, export_tokenizer, exported_step
from .finite_check import DivergedError
from .launcher import preserve_rng_state
from .report import ENDED, write_run_report
from .run import Run
from .samples import sample_rows
from .validation import Validation


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
            write_run_report(run, sample_rows(run, validation), [ending] if ending else [])


def write_final_outputs(run: Run, validation: Validation, warn: Callable[[str], None], error: BaseException) -> None:
    """Write what is left when `error` ends a run: the EMA weights, after a divergence those of the last good checkpoint.

    An existing export that is newer than that checkpoint stays. Nothing is written if the run has passed the step of
    its first checkpoint but has none. The next call would take such an export for the remains of a run, and refuse to start.
    """
    if not run.accelerator.is_main_process or not run.ema.updates:
        return
    reached = run.ema.updates
    checkpoint, _ = good_checkpoint(run.config.run.out / "checkpoints")
    if checkpoint is None and reached >= min(run.config.run.save_every, run.config.run.steps):
        return
    why = describe_error(error) if isinstance(error, Exception) else "it was interrupted."
    with best_effort("the tokenizer", warn):
        if isinstance(error, DivergedError):
            exported = exported_step(run.config.run.out / EXPORT, run.decoder_name) or 0
            if checkpoint is None or checkpoint_step(checkpoint) < exported:
                return
            run.ema.load_state_dict(ema_state(checkpoint))
        write_outputs(run, validation, warn, f"{ENDED} {reached} of {run.config.run.steps}: {why}")


@contextmanager
def best_effort(what: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Turn an error of the body into a warning that `what` could not be written."""
    try:
        yield
    except Exception as error:
        warn(f"{what} could not be written: {describe_error(error)}")
