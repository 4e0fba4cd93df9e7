"""The images that a tokenizer is evaluated on, and what could not be read."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...images.finding.index import DamagedShard
from ...tokenizer.errors import WorkFailedError
from ...tokenizer.wording import pluralize
from ..api import Tokenizer
from ..inputs.input_files import UnreadableInputError
from ..inputs.plan import plan_shards
from ..inputs.reading import ReadImage, read_image
from ..inputs.samples import Failure, Sample, ShardTask

ANY_SHARD_SIZE = 1000


class EvaluationInputs:
    """Lists the images of DATA, and reads them in order with a tokenizer's preprocessing."""

    def __init__(self, data: Sequence[str], tokenizer: Tokenizer, out: Path | None = None):
        self.data = list(data)
        self._config = tokenizer.config.preprocessing
        self._multiple = tokenizer.downsample
        self.failures: list[Failure] = []
        """Images that cannot be used, among those read so far."""
        self.lost: list[str] = []
        """A phrase for each damaged shard and for each file that the disk does not give."""
        shards = plan_shards(self.data, ANY_SHARD_SIZE, out).shards
        self.samples = [sample for shard in shards for sample in self._listed(shard)]

    def images(self, samples: Iterable[Sample]) -> Iterator[ReadImage]:
        """Yield the images of samples that can be used; the others go into `failures` or `lost`."""
        for sample in samples:
            try:
                read = read_image(sample, self._config, self._multiple)
            except UnreadableInputError as error:
                self.lost.append(str(error))
                continue
            if isinstance(read, ReadImage):
                yield read
            else:
                self.failures.append(read.row)

    def no_image(self) -> Exception:
        """Return the error to raise when no image at all could be read."""
        if self.lost:
            return WorkFailedError(self.lost[0])
        if not self.failures:
            return ValueError("There is no image to evaluate on: give images that can be read.")
        row, *rest = self.failures
        others = f", nor can {pluralize(len(rest), 'other')}" if rest else ""
        return WorkFailedError(
            f"There is no image to evaluate on: {row.source} cannot be used ({row.reason}){others}: give images that can be "
            "read."
        )

    def _listed(self, shard: ShardTask) -> list[Sample]:
        try:
            return list(shard.source.list_samples().samples)
        except DamagedShard as error:
            self.lost.append(str(error))
        except OSError as error:
            self.lost.append(f"{error.filename or shard.name} cannot be read ({error.strerror or error})")
        return []
