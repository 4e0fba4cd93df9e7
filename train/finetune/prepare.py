"""What all stages of a fine-tuning share: the tokenizer to start from, the images, and how messages are shown."""

from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ...cli.printing import say
from ...images.file_entry import Entry
from ...pretrained.find import find_tokenizer
from ...tokenizer.folder.save_load import LoadedTokenizer, load_tokenizer
from ..data.changed_images import IMAGES_FILE, record_images
from ..data.config import SourceConfig
from ..data.read_images import ImageReader
from ..data.source_images import SourceImages
from ..logs.run_log import Verbosity
from .config import FinetuneConfig
from .kept_files import store_config


class Split(NamedTuple):
    """Training images and evaluation images."""

    train: SourceConfig
    val: SourceConfig
    note: str
    """The split as a phrase for users."""


class Finetuning(NamedTuple):
    """A fine-tuning in progress."""

    config: FinetuneConfig
    folder: Path
    """Folder of the tokenizer to start from."""
    before: LoadedTokenizer
    images: SourceImages
    """The images as they were at the start of this call."""
    split: Split
    verbosity: Verbosity

    @property
    def reader(self) -> ImageReader:
        """Reads images with the tokenizer's preprocessing."""
        threads = max(1, self.config.data.workers)
        return ImageReader(self.before.config.preprocessing, self.before.model.downsample, threads)

    def entries(self, source: SourceConfig) -> list[Entry]:
        """Return the images of one side of the split."""
        return self.images.of(source)

    def tell(self, sentence: str) -> None:
        """Print a sentence unless the user asked for quiet."""
        if not self.verbosity.quiet:
            say(sentence, aside=self.verbosity.on_stderr)

    def warn(self, sentence: str) -> None:
        """Print a warning."""
        say(f"warning: {sentence}", aside=self.verbosity.on_stderr)


def prepare(config: FinetuneConfig, verbosity: Verbosity) -> Finetuning:
    """Load the tokenizer and list the images, with a warning if they changed since the last call.

    Raises ValueError if the call cannot work, or the folder holds results of another one.
    """
    warnings = store_config(config)
    folder, images = find_tokenizer(config.model), SourceImages()
    run = Finetuning(config, folder, load_tokenizer(folder), images, _split(config, images), verbosity)
    for warning in warnings:
        run.warn(warning)
    run.tell(run.split.note)
    sources = [SourceConfig(path=path) for path in (config.data.train, config.data.val) if path]
    for warning in record_images(config.out / IMAGES_FILE, chain.from_iterable(map(images.of, sources))):
        run.warn(warning)
    return run


def _split(config: FinetuneConfig, images: SourceImages) -> Split:
    """Split by file names alone, so that the split does not depend on where the images are."""
    data = config.data
    everything = SourceConfig(path=data.train)
    if data.val:
        return Split(everything, SourceConfig(path=data.val), "evaluation on the images of data.val")
    fraction = data.held_out
    count = len(images.of(everything))
    held_out = round(count * fraction)
    if held_out < 1 or held_out == count:
        note = f"too few images to hold any out ({count}): evaluation on the training images themselves"
        return Split(everything, everything, note)
    train = everything.model_copy(update={"split": (fraction, 1.0)})
    val = everything.model_copy(update={"split": (0.0, fraction)})
    return Split(train, val, f"{held_out} of {count} images are held out for evaluation")
