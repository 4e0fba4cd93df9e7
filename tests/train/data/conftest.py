"""Folders of training images."""

import pytest

from samples import image_bytes, noise_image


@pytest.fixture
def images(tmp_path):
    """Seven images of different heights."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(7):
        noise_image(40 + number, 36, seed=number).save(folder / f"{number}.png")
    return str(folder)


@pytest.fixture
def one_broken(tmp_path):
    """Forty images, and as the last of all a truncated one."""
    folder = tmp_path / "one-broken"
    folder.mkdir()
    for number in range(40):
        noise_image(48, 48, seed=number).save(folder / f"{number:02d}.png")
    (folder / "99.jpg").write_bytes(image_bytes(noise_image(48, 48), "JPEG")[:-400])
    return folder
