"""The images that a tokenizer is evaluated on, and what of the inputs could not be used."""

from collections.abc import Iterator, Sequence

from ...images.finding.index import DamagedShard
from ...tokenizer.preprocessing import PreprocessingConfig
from ..inputs.input_files import UnreadableInputError
from ..inputs.reading import ReadImage, read_image
from ..inputs.samples import Failure, Sample, ShardTask


class EvaluationInputs:
    """Reads the images of some shards in order."""

    def __init__(self, shards: Sequence[ShardTask], config: PreprocessingConfig, multiple: int):
        self._config = config
        self._multiple = multiple
        self.failures: list[Failure] = []
        """Images that cannot be used, as far as they were read."""
        self.lost: list[str] = []
        """What the disk does not give: a phrase for each damaged shard, and for each file that cannot be read."""
        self.samples = [sample for shard in shards for sample in self._listed(shard)]

    def images(self, samples: Iterator[Sample]) -> Iterator[ReadImage]:
        """Yield the images of samples that can be used."""
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

    def _listed(self, shard: ShardTask) -> list[Sample]:
        try:
            return list(shard.samples())
        except DamagedShard as error:
            self.lost.append(str(error))
        except OSError as error:
            self.lost.append(f"{error.filename or shard.name} cannot be read ({error.strerror or error})")
        return []
