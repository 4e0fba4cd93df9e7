"""What a run calculates in, and how many images its encoder gets at a time."""

from ...tokenizer.numerics.exact import DEVICE_BATCH
from ..api import Tokenizer
from ..arithmetic import EXACT_ARITHMETIC, MAX_IMAGES
from ..batch_probe import probed_batch
from ..fast import COMPILED, COMPILING_PAYS, fast_precision
from ..inputs.plan import Plan
from ..token_shards.manifest import Manifest


def choose_precision(
    fast: bool, batch_size: int | None, tokenizer: Tokenizer, plan: Plan, before: Manifest | None
) -> str:
    """Return the precision; a folder keeps that of its first call, since another rounds to other tokens."""
    if not fast:
        return EXACT_ARITHMETIC
    if before is None or before.precision == EXACT_ARITHMETIC:
        pays = plan.size() >= COMPILING_PAYS
        return fast_precision(tokenizer.device, pays, batch_size or _probed(tokenizer))
    _, form, size = before.precision.split("-")
    return fast_precision(tokenizer.device, form == COMPILED, batch_size or int(size))


def choose_batch_size(batch_size: int | None, tokenizer: Tokenizer, precision: str) -> int:
    """Return how many images the encoder gets at a time: on a GPU a batch of the fast one, or several of the exact one."""
    if tokenizer.device.type == "cpu" or batch_size:
        return batch_size or DEVICE_BATCH
    return MAX_IMAGES if precision == EXACT_ARITHMETIC else int(precision.split("-")[2])


def _probed(tokenizer: Tokenizer) -> int | None:
    """Return the batch size that is fastest on a GPU, where all images have one size."""
    side = tokenizer.config.preprocessing.side
    return probed_batch(tokenizer.model, tokenizer.device, side) if side and tokenizer.device.type == "cuda" else None
