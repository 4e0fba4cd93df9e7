"""What a run leaves behind at a step: the tokenizer and the report, both of the same step."""

from ..cli.user_errors import describe_error
from .checkpoints.checkpoint import checkpoint_step, good_checkpoint
from .checkpoints.states import averaged_state
from .decoration import Warn, decorating
from .divergence import DivergedError
from .export import EXPORT, export_tokenizer, exported_step
from .report import ENDED, SAMPLES, write_run_report
from .run import Run
from .seeding import untouched_noise
from .validation import Validation


def write_outcome(run: Run, validation: Validation, warn: Warn, ending: str = "") -> None:
    """Write the averaged weights as they are now, and the report; the main process alone does, without the others.

    `ending` says in a sentence why the run ended before its time. A report that fails is a warning; an export raises OSError.
    """
    if not run.accelerator.is_main_process:
        return
    with untouched_noise():  # building the exported quantizer draws weights
        export_tokenizer(run.config.run.out / EXPORT, run.average.module, run.config, run.average.updates)
        with decorating("the report", warn):
            write_run_report(run, validation.samples(SAMPLES), [ending] if ending else [])


def write_last_outcome(run: Run, validation: Validation, warn: Warn, error: BaseException) -> None:
    """Write what there is when `error` ends a run: the averaged weights as they are, after a divergence those of a checkpoint.

    Where that checkpoint is older than the tokenizer that was written last, this one stays with its report. So it does where
    the first checkpoint was due and is not there: the next call would take a tokenizer of that step, which it would write
    over, for all that is left of a run, and refuse to begin.
    """
    if not run.accelerator.is_main_process or not run.average.updates:
        return
    reached = run.average.updates
    first = min(run.config.run.save_every, run.config.run.steps)
    if reached >= first and good_checkpoint(run.config.run.out / "checkpoints")[0] is None:
        return
    why = describe_error(error) if isinstance(error, Exception) else "it was interrupted."
    with decorating("the tokenizer", warn):
        if isinstance(error, DivergedError) and not _take_back(run):
            return
        write_outcome(run, validation, warn, f"{ENDED} {reached} of {run.config.run.steps}: {why}")


def _take_back(run: Run) -> bool:
    """Take the averaged weights back to the newest good checkpoint, unless there is a later tokenizer or no checkpoint."""
    checkpoint, _ = good_checkpoint(run.config.run.out / "checkpoints")
    if checkpoint is None or checkpoint_step(checkpoint) < (exported_step(run.config.run.out / EXPORT) or 0):
        return False
    run.average.load_state_dict(averaged_state(checkpoint))
    return True
