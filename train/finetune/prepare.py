"""What all stages of a fine-tuning share: the tokenizer to start from, the images, and how messages are shown."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ...cli.printing import say
from ...pretrained.find import find_tokenizer
from ...pretrained.load_found import load_from
from ...tokenizer.folder.decoders import decoder_names
from ...tokenizer.folder.save_load import LoadedTokenizer
from ..checkpoints.checked_file import load_checked, save_checked
from ..data.changed_images import IMAGES_FILE, record_images
from ..data.config import SourceConfig
from ..data.read_images import ImageReader
from ..data.source_images import SourceImages
from ..logs.run_log import Verbosity
from .config import FinetuneConfig
from .stored_config import check_stored


class Finetuning(NamedTuple):
    """A fine-tuning in progress."""

    config: FinetuneConfig
    folder: Path
    """Folder of the tokenizer to start from."""
    before: LoadedTokenizer
    images: SourceImages
    """The images as they were at the start of this call."""
    train: SourceConfig
    val: SourceConfig
    split: str
    """How training and evaluation images are split, as a phrase for users."""
    verbosity: Verbosity

    @property
    def reader(self) -> ImageReader:
        threads = max(1, self.config.data.workers)
        return ImageReader(self.before.config.preprocessing, self.before.model.downsample, threads)

    def tell(self, sentence: str) -> None:
        if not self.verbosity.quiet:
            say(sentence, aside=self.verbosity.on_stderr)

    def warn(self, sentence: str) -> None:
        say(f"warning: {sentence}", aside=self.verbosity.on_stderr)


class KeptFile(NamedTuple):
    """Tensors and plain values, valid only under the key they were saved with."""

    path: Path
    key: str
    warn: Callable[[str], None]

    def load(self, if_damaged: str) -> dict[str, Any] | None:
        """Return the values, or None if there are none for this key; a damaged file is a warning with `if_damaged`."""
        try:
            found = load_checked(self.path)
        except ValueError as error:
            self.warn(f"{error} {if_damaged}")
            return None
        return found if found is not None and found["key"] == self.key else None

    def save(self, **values: Any) -> None:
        save_checked(self.path, {"key": self.key, **values})


def prepare(config: FinetuneConfig, verbosity: Verbosity) -> Finetuning:
    """Load the tokenizer and list the images, with a warning if they changed since the last call.

    Raises ValueError if the call cannot work, or the folder holds results of another one.
    """
    folder, images = find_tokenizer(config.model), SourceImages()
    before = load_from(config.model, folder)
    if before.config.architecture.encoder_only:
        raise ValueError(
            f"{config.model} has no decoder, because its checkpoint has none, so it cannot be fine-tuned: import the "
            "checkpoint with the decoder."
        )
    before = _at_size(before, config.size)
    warnings = check_stored(config) + _left_out(config, folder)
    run = Finetuning(config, folder, before, images, *_split(config, images), verbosity)
    run.tell(run.split)
    sources = [SourceConfig(path=path) for path in (config.data.train, config.data.val) if path]
    for warning in warnings + record_images(config.out / IMAGES_FILE, chain.from_iterable(map(images.of, sources))):
        run.warn(warning)
    return run


def _left_out(config: FinetuneConfig, folder: Path) -> list[str]:
    """Return a warning about extra decoders that would not fit the result."""
    names = decoder_names(folder)
    if config.generative or not names:
        return []
    decoders = f"the decoder {names[0]}" if len(names) == 1 else f"the decoders {', '.join(names)}"
    return [
        f"{config.model} has {decoders}, trained for it as it is and left out of the result: train again there, with --decoder."
    ]


def _at_size(loaded: LoadedTokenizer, size: int | None) -> LoadedTokenizer:
    """Return a tokenizer that resizes images to squares of another size, None being its own."""
    if size is None:
        return loaded
    loaded.config.architecture.require_side("size", size)
    preprocessing = loaded.config.preprocessing.model_copy(update={"size": size})
    return loaded._replace(config=loaded.config.model_copy(update={"preprocessing": preprocessing}))


def _split(config: FinetuneConfig, images: SourceImages) -> tuple[SourceConfig, SourceConfig, str]:
    """Return training images, evaluation images, and a phrase; images are held out by their file names alone."""
    everything = SourceConfig(path=config.data.train)
    if config.data.val:
        return everything, SourceConfig(path=config.data.val), "evaluation on the images of data.val"
    fraction, count = config.data.held_out, len(images.of(everything))
    held_out = round(count * fraction)
    if held_out < 1 or held_out == count:
        note = f"too few images to hold any out ({count}): evaluation on the training images themselves"
        return everything, everything, note
    train, val = (everything.model_copy(update={"split": part}) for part in ((fraction, 1.0), (0.0, fraction)))
    return train, val, f"{held_out} of {count} images are held out for evaluation"


def few(run: Finetuning, count: int) -> SourceConfig:
    """Return about `count` of the evaluation images, or all if there are fewer."""
    first, last = run.val.split
    fraction = min(1.0, count / max(1, len(run.images.of(run.val))))
    return run.val.model_copy(update={"split": (first, first + (last - first) * fraction)})
