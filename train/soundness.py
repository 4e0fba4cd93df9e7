"""Ends a run whose losses or weights are no longer finite."""

from .checkpoints.checkpoint import good_checkpoint
from .divergence import DivergedError, is_finite
from .run import Run


def check_losses(run: Run) -> None:
    """Raise DivergedError, on every process, when a loss so far was not finite; every process must call it."""
    found = run.divergence.found()
    if found:
        raise _diverged(found, run)


def check_weights(run: Run, step: int) -> None:
    """Raise DivergedError when a weight is not finite after `step` steps; weights are the same on all processes."""
    if not is_finite(run.model):
        raise _diverged(f"the weights of the tokenizer are not finite after step {step}", run)
    if run.adversary is not None and not is_finite(run.adversary.discriminator):
        raise _diverged(f"the weights of the discriminator are not finite after step {step}", run, "adversarial.lr")


def _diverged(what: str, run: Run, rate: str = "optimizer.lr") -> DivergedError:
    checkpoint, _ = good_checkpoint(run.config.run.out / "checkpoints")
    kept = f"; the last good checkpoint is {checkpoint}" if checkpoint else ""
    return DivergedError(f"{what}: lower {rate}{kept}.")
