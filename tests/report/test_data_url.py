"""Images within a page."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from vistok.report.data_url import data_url


@pytest.mark.parametrize(("side", "form"), [(96, "png"), (97, "jpeg"), (256, "jpeg"), (512, "jpeg")])
def test_noise_is_stored_without_a_word_of_libjpeg(side, form, capfd):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    url = data_url(noise)
    assert capfd.readouterr() == ("", "")
    head, _, content = url.partition(";base64,")
    stored = Image.open(io.BytesIO(base64.b64decode(content)))
    assert head == f"data:image/{form}" and stored.size == noise.size
    difference = np.abs(np.asarray(stored).astype(int) - np.asarray(noise)).mean()
    assert difference == 0 if form == "png" else difference < 12
