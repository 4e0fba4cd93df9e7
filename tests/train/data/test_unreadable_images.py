"""Unreadable images are left out with a warning, and too many of them stop the work."""

import numpy as np
import pytest

from vistok.tokenizer.errors import WorkFailedError
from vistok.tokenizer.preprocessing import PreprocessingConfig
from vistok.train.data.config import SourceConfig
from vistok.train.data.read_images import ImageReader
from vistok.train.data.source_images import SourceImages
from vistok.train.data.unreadable_images import UnreadableLimit


def test_chance_does_not_stop_a_collection_that_is_good_enough():
    """With 0.9 % unreadable of 10,000, of which 1 % are allowed, fewer than 1 in 100 orders may end a run early."""
    stopped = {0.009: 0, 0.03: 0}
    limit = UnreadableLimit(stop_at_first=False, max_fraction=0.01)
    for fraction in stopped:
        for seed in range(100):
            is_bad = np.random.default_rng(seed).permutation(10_000) < fraction * 10_000
            try:
                # Only at an unreadable image can the limit be passed.
                for unreadable, drawn in enumerate(is_bad.nonzero()[0] + 1, 1):
                    limit.check(unreadable, 10_000, "x", int(drawn))
            except WorkFailedError:
                stopped[fraction] += 1
    assert stopped[0.009] <= 5 and stopped[0.03] == 100


def test_few_never_count_and_exactly_the_fraction_is_allowed():
    limit = UnreadableLimit(stop_at_first=False, max_fraction=0.01)
    limit.check(9, 10, "")
    limit.check(10, 1000, "")
    with pytest.raises(WorkFailedError, match=r"11 of the 1000 images cannot be read, more than data.max_unreadable"):
        limit.check(11, 1000, "x")
    for hundredths in range(10, 100):  # in float64 0.29 of 100 is less than 29
        limit = UnreadableLimit(False, hundredths / 100)
        assert limit.allows(hundredths, 100) and limit.allows(10 * hundredths, 1000)
        limit.check(hundredths, 100, "", drawn=100)
        assert not limit.allows(hundredths + 1, 100) and not limit.allows(10 * hundredths + 1, 1000)


def test_streamed_images_leave_unreadable_ones_out(one_broken):
    warnings = []

    def read(limit):
        entries = SourceImages().of(SourceConfig(path=str(one_broken)))
        return list(ImageReader(PreprocessingConfig(size=32), 8, 2).readable(entries, limit, warnings.append))

    found = read(UnreadableLimit(False, 0.01))
    assert len(found) == 40 and all(image.shape == (32, 32, 3) for image in found)
    (warning,) = warnings
    assert "99.jpg cannot be used" in warning and warning.endswith("it is left out.")
    with pytest.raises(WorkFailedError, match=r"99.jpg cannot be used .*: repair or remove it"):
        read(UnreadableLimit(True, 0))
    for path in one_broken.iterdir():
        path.write_bytes(b"")
    with pytest.raises(WorkFailedError, match="10 of the 41 images cannot be read, more than data.max_unreadable"):
        read(UnreadableLimit(False, 0.01))
    with pytest.raises(WorkFailedError, match="none of the 41 images can be read; the last: "):
        read(UnreadableLimit(False, 1))
