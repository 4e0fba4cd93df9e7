"""A folder of images for engines, one of which is broken."""

import pytest

from samples import image_bytes, noise_image


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(40):
        content = image_bytes(noise_image(64, 64, index), "PNG")
        (folder / f"{index:02}.png").write_bytes(b"broken" if index == 7 else content)
    return folder
