"""What a run calculates in, and how many images its encoder gets at a time."""

from ...tokenizer.numerics.exact import DEVICE_BATCH
from ..api import Tokenizer
from ..arithmetic import EXACT_ARITHMETIC, MAX_IMAGES
from ..batch_limit import BatchLimit, parse_limit, token_budget
from ..batch_probe import probed_batch
from ..fast import COMPILED, COMPILING_PAYS, fast_batch, fast_precision
from ..inputs.plan import Plan
from ..token_shards.manifest import Manifest
from .job import COMMON_SIDE


def given_limit(batch_size: int | None, max_batch_tokens: int | None, tokenizer: Tokenizer) -> BatchLimit | None:
    """Return the limit of a batch that a user gives, None for auto; where images differ in size, it is one of tokens.

    `batch_size` then counts images of 256 x 256, or of the max area; raises ValueError when both are given.
    """
    refuse_two_limits(batch_size, max_batch_tokens)
    side = tokenizer.config.preprocessing.side
    if max_batch_tokens and side:
        return BatchLimit(max(1, max_batch_tokens * tokenizer.downsample**2 // side**2))
    if max_batch_tokens:
        return BatchLimit(max_batch_tokens, in_tokens=True)
    return _limit(batch_size, tokenizer) if batch_size else None


def refuse_two_limits(batch_size: int | None, max_batch_tokens: int | None) -> None:
    """Raise ValueError when both limits of a batch are given."""
    if batch_size and max_batch_tokens:
        raise ValueError(
            f"--batch-size {batch_size} and --max-batch-tokens {max_batch_tokens} both limit a batch: give one of them."
        )


def choose_precision(
    fast: bool, limit: BatchLimit | None, tokenizer: Tokenizer, plan: Plan, before: Manifest | None
) -> str:
    """Return the precision; a folder keeps that of its first call, since another rounds to other tokens."""
    if not fast:
        return EXACT_ARITHMETIC
    if before is None or before.precision == EXACT_ARITHMETIC:
        pays = plan.size() >= COMPILING_PAYS
        return fast_precision(tokenizer.device, pays, limit or _fast_limit(tokenizer))
    _, form, size = before.precision.split("-")
    return fast_precision(tokenizer.device, form == COMPILED, limit or parse_limit(size))


def choose_limit(limit: BatchLimit | None, tokenizer: Tokenizer, precision: str) -> BatchLimit:
    """Return how many images the encoder gets at a time: on a GPU a batch of the fast one, or several of the exact one.

    A CPU encodes each exactly by itself: a core that gets no more than it must leaves none idle at the end.
    """
    if limit:
        return limit
    if precision != EXACT_ARITHMETIC:
        return parse_limit(precision.split("-")[2])
    if tokenizer.device.type == "cpu":
        side = tokenizer.config.preprocessing.side or COMMON_SIDE
        return _cpu_limit(max(1, min(DEVICE_BATCH, COMMON_SIDE**2 // side**2)), tokenizer)
    return _limit(MAX_IMAGES, tokenizer)


def _limit(images: int, tokenizer: Tokenizer) -> BatchLimit:
    """Return a limit of images, or of the tokens of as many where images differ in size."""
    preprocessing = tokenizer.config.preprocessing
    if preprocessing.side:
        return BatchLimit(images)
    side = preprocessing.area[1] if preprocessing.area else COMMON_SIDE
    return token_budget(images, side, tokenizer.downsample)


def _cpu_limit(images: int, tokenizer: Tokenizer) -> BatchLimit:
    """Return the default of a CPU: where images differ in size, the tokens of one of 256 x 256, however large the area.

    More gain nothing there, since a core is busy with one such image, and with --fast each rare size pads a batch.
    """
    if tokenizer.config.preprocessing.side:
        return BatchLimit(images)
    return token_budget(1, COMMON_SIDE, tokenizer.downsample)


def _fast_limit(tokenizer: Tokenizer) -> BatchLimit:
    """Return the batch size that is fastest on a GPU for squares, the default elsewhere."""
    device, side = tokenizer.device, tokenizer.config.preprocessing.side
    if device.type == "cpu":
        return _cpu_limit(fast_batch(device), tokenizer)
    probed = probed_batch(tokenizer.model, device, side) if side and device.type == "cuda" else None
    return _limit(probed or fast_batch(device), tokenizer)
