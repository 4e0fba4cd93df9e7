"""Reading images in processes of their own, which no interpreter lock holds up; their pixels come in shared memory."""

from contextlib import suppress
from dataclasses import replace

from ...images.shared_slots import SharedSlots
from ...tokenizer.preprocessing import PreprocessingConfig
from .input_files import UnreadableInputError
from .lanes import LANES, Lanes, ReaderDied
from .reader_process import Answer, InMessage, InSlot, Setting
from .reading import ReadImage, ReadResult
from .samples import Sample

CHUNK = 16
"""Images per request where all have one size: fewer messages, and little memory that is bounded too late."""
SHARED_BYTES = 1 << 29
"""Max bytes of shared memory (512 MB), for what is being read, waits, or is in a batch; images beyond that come as messages."""
SLOT_BYTES = 3 << 20
"""Max bytes of a slot where the sizes of images differ."""
ATTEMPTS = 3
"""Processes that may die of one image before it counts as unreadable."""


class ProcessReaders:
    """Reads images in processes; any number of threads may call `read`, of which `lanes` go on at a time."""

    def __init__(self, config: PreprocessingConfig, multiple: int, processes: int):
        self.lanes = LANES * processes
        self.chunk = CHUNK if config.side else 1
        slot_bytes = _slot_bytes(config)
        self._slots = SharedSlots(slot_bytes, SHARED_BYTES // slot_bytes)
        setting = Setting(config, multiple, slot_bytes)
        self._lanes = Lanes(setting, self._slots.descriptor, processes)
        self._alone = Lanes(setting, self._slots.descriptor, processes=1, lanes=1)
        """For images that were being read when a process died: here one that dies again dies of its own."""

    def read(self, samples: list[Sample]) -> list[ReadResult]:
        """Return what became of each sample; what a killed process had to read, another one reads.

        Raises WorkFailedError when no process can start, and RuntimeError for an error that is no image's fault.
        """
        with suppress(ReaderDied):
            return self._read(samples, self._lanes)
        return [self._read_alone(sample) for sample in samples]

    def close(self) -> None:
        """Kill the processes, which leave nothing behind; threads that still read get an error."""
        self._lanes.close()
        self._alone.close()
        self._slots.close()

    def _read_alone(self, sample: Sample) -> ReadResult:
        for _ in range(ATTEMPTS - 1):
            with suppress(ReaderDied):
                return self._read([sample], self._alone)[0]
        return UnreadableInputError(
            f"{sample.source} cannot be read (each process that reads it is killed, as when the memory is too small)"
        )

    def _read(self, samples: list[Sample], lanes: Lanes) -> list[ReadResult]:
        slots = [self._slots.take() for _ in samples]
        try:
            answers = lanes.ask(
                [(replace(sample, companions=()), slot) for sample, slot in zip(samples, slots, strict=True)]
            )
        except BaseException:
            for slot in slots:
                self._slots.give_back(slot)
            raise
        return [self._result(*each) for each in zip(answers, samples, slots, strict=True)]

    def _result(self, answer: Answer, sample: Sample, slot: int | None) -> ReadResult:
        if isinstance(answer, InSlot):
            assert slot is not None
            return ReadImage(sample, self._slots.pixels(slot, answer.shape), answer.metadata)
        self._slots.give_back(slot)
        return ReadImage(sample, answer.pixels, answer.metadata) if isinstance(answer, InMessage) else answer


def _slot_bytes(config: PreprocessingConfig) -> int:
    """Return the bytes of a slot; an image that has more comes as a message."""
    if config.side:
        return min(SHARED_BYTES, 3 * config.side**2)
    largest = 3 * config.area[1] ** 2 if config.area else SLOT_BYTES
    return min(SHARED_BYTES, SLOT_BYTES, largest)
