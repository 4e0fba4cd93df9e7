"""What a call shows of its first images: a preview, and how many tokens --fast keeps."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from PIL import Image

from ...images.saving import comparison_sheet, mark_in, png_bytes
from ...images.tars.blocks import DamagedShard
from ...tokenizer.decoders.base import GENERATIVE, PLAIN
from ...tokenizer.wording import pluralize
from ..api import Tokenizer
from ..arithmetic import Encode, agreement
from ..inputs.input_files import UnreadableInputError
from ..inputs.plan import Plan
from ..inputs.reading import ReadImage, read_image
from ..inputs.views import ONE_ROW, Views, rows_of
from ..token_shards.store import Store, write_file
from .collate import collate_for

COMPARED_IMAGES = 8
PREVIEW_FILE = "preview.png"
PREVIEW_MARK = "preview"


def is_other(store: Store) -> bool:
    """Return whether something is in the place of the preview that is no preview of vistok."""
    if store.size(PREVIEW_FILE) is None:
        return PREVIEW_FILE in store.others()
    with store.open(PREVIEW_FILE) as file:
        return mark_in(file) != PREVIEW_MARK


def write_preview(
    store: Store, plan: Plan, tokenizer: Tokenizer, encode: Encode, count: int, views: Views = ONE_ROW
) -> int:
    """Write a PNG of the first `count` rows of the usable images of a plan; return how many there were.

    Each is above what the plain decoder makes of its tokens, and that above what the generative one does, if there is one.
    """
    collate = collate_for(tokenizer.device)
    decoders = [PLAIN, GENERATIVE] if GENERATIVE in tokenizer.model.decoders else [PLAIN]
    shown: list[list[Image.Image]] = []
    for image in islice(_rows(plan, tokenizer, views), count):
        tokens = encode(collate([image.pixels]))
        decoded = [tokenizer.decode(tokens, decoder=name)[0] for name in decoders]
        shown.append([Image.fromarray(image.pixels), *decoded])
    if shown:
        write_file(store, PREVIEW_FILE, png_bytes(comparison_sheet(shown), PREVIEW_MARK))
    return len(shown)


def compare_with_float32(plan: Plan, tokenizer: Tokenizer, encode: Encode, views: Views = ONE_ROW) -> str | None:
    """Return a line that says how many tokens of the first images `encode` shares with the exact encoder.

    It gets them as it gets all others: for another type it would be compiled twice, half a minute each.
    """
    collate = collate_for(tokenizer.device)
    images = [collate([image.pixels]) for image in islice(_rows(plan, tokenizer, views), COMPARED_IMAGES)]
    if not images:
        return None
    fraction = agreement(lambda image: tokenizer.start_encoding(image)(), encode, images)
    return f"--fast: {fraction:.2%} of the tokens of {pluralize(len(images), 'image')} are those of float32"


def _rows(plan: Plan, tokenizer: Tokenizer, views: Views) -> Iterator[ReadImage]:
    """Yield the rows of the usable images of a plan, damaged shards left out."""
    config = tokenizer.config.preprocessing
    for task in plan.shards:
        with suppress(DamagedShard, OSError):
            for sample in task.source.list_samples().samples:
                with suppress(UnreadableInputError):
                    read = read_image(sample, views.canvas(config), tokenizer.downsample, tokenizer.grid)
                    if isinstance(read, ReadImage):
                        yield from rows_of(read, views, config, tokenizer.downsample)
