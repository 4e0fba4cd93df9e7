import numpy as np
from PIL import Image

from samples import noise_image
from vistok.images.saving import comparison_sheet, save_png


def test_after_eight_pairs_the_next_rows_begin():
    pairs = [(noise_image(20, 10, seed), noise_image(20, 10, 100 + seed)) for seed in range(19)]
    sheet = np.asarray(comparison_sheet(pairs))
    assert sheet.shape == (3 * 2 * (10 + 8) + 8, 8 * (20 + 8) + 8, 3)
    for index, pair in enumerate(pairs):
        for row, image in enumerate(pair):
            top, left = 8 + (2 * (index // 8) + row) * 18, 8 + (index % 8) * 28
            assert np.array_equal(sheet[top : top + 10, left : left + 20], np.asarray(image))


def test_a_column_may_have_more_images():
    images = [[noise_image(20, 10, 3 * index + row) for row in range(3)] for index in range(9)]
    sheet = np.asarray(comparison_sheet(images))
    assert sheet.shape == (2 * 3 * (10 + 8) + 8, 8 * (20 + 8) + 8, 3)
    for index, column in enumerate(images):
        for row, image in enumerate(column):
            top, left = 8 + (3 * (index // 8) + row) * 18, 8 + (index % 8) * 28
            assert np.array_equal(sheet[top : top + 10, left : left + 20], np.asarray(image))


def test_large_images_are_made_small():
    assert comparison_sheet([(noise_image(512, 300), noise_image(512, 300))]).size == (256 + 16, 2 * 150 + 24)


def test_saved_images_are_whole_files(tmp_path):
    image = noise_image(5, 4)
    save_png(tmp_path / "new" / "a.png", image)
    with Image.open(tmp_path / "new" / "a.png") as saved:
        assert np.array_equal(np.asarray(saved), np.asarray(image))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
