"""scripts/decoder_sheet.py: where crops are, every pixel of a sheet, and what is refused."""

import sys

import numpy as np
from PIL import Image

import vistok
from decoder_cases import draw
from samples import noise_image


def test_crops_are_where_most_was_lost():
    from decoder_judging.sheet import largest_errors

    original, other = noise_image(40, 30), noise_image(40, 30, 1)
    error = (np.asarray(original, float) - np.asarray(other, float)) ** 2
    sums = {(x, y): error[y : y + 8, x : x + 8].sum() for x in range(33) for y in range(23)}
    boxes = largest_errors(original, other, 8, 3)
    for index, box in enumerate(boxes):
        left = {at: value for at, value in sums.items() if all(apart(at, before) for before in boxes[:index])}
        assert (box.left, box.top) == max(left, key=left.__getitem__)
    assert len(largest_errors(original, other, 20, 9)) < 9  # no room for more


def apart(corner, box):
    return abs(corner[0] - box.left) >= box.side or abs(corner[1] - box.top) >= box.side


def test_a_sheet_has_the_images_pixel_for_pixel():
    from decoder_judging.sheet import Box, Panel, sheet

    images = [noise_image(32, 24, seed) for seed in range(5)]
    panels = [Panel("original", images[:1], [""]), Panel("plain", images[1:2], [""])]
    panels.append(Panel("gan", images[2:4], ["seed 0", "seed 1"]))
    drawn = np.asarray(sheet([(panels, [Box(5, 6, 8)]), (panels[:1], [])], columns=2, zoom=4))
    for image, is_whole in zip(images[:4], (True, True, True, False), strict=True):
        pixels = np.asarray(image)
        assert contains(drawn, pixels) == is_whole  # the second seed has crops alone
        assert contains(drawn, pixels[6:14, 5:13].repeat(4, 0).repeat(4, 1))
    assert not contains(drawn, np.asarray(images[4]))


def test_a_box_is_at_one_height_in_all_panels():
    from decoder_judging.sheet import Box, Panel, panel_image

    boxes, images = [Box(0, 0, 8), Box(16, 8, 8)], [noise_image(32, 24, seed) for seed in range(3)]
    one, two = Panel("original", images[:1], [""]), Panel("gan", images[1:], ["seed 0", "seed 1"])
    crops = [[np.asarray(image)[y : y + 8, x : x + 8] for x, y, _ in boxes] for image in images]
    drawn = [np.asarray(panel_image(panel, boxes, 1)) for panel in (one, two)]
    for box in range(2):
        (top,) = {int(np.argwhere(matches(whole, crop[box]))[-1, 0]) for whole, crop in zip(drawn, crops, strict=False)}
        assert top > 24  # under the whole image


def matches(whole, part):
    windows = np.lib.stride_tricks.sliding_window_view(whole, part.shape)[:, :, 0]
    return (windows == part).all(axis=(2, 3, 4))


def contains(whole, part):
    return bool(matches(whole, part).any())


def draw_sheet(monkeypatch, *arguments):
    import decoder_sheet

    monkeypatch.setattr(sys, "argv", ["decoder_sheet.py", *map(str, arguments)])
    return decoder_sheet.main()


def test_another_plain_decoder_of_the_same_tokens_has_a_panel(tmp_path, photos, tokenizer_folder, monkeypatch):
    other = vistok.load(tokenizer_folder, device="cpu")
    draw(other.model.decoder)
    other.save_pretrained(tmp_path / "other")
    common = ["--images", photos, "--out", tmp_path / "sheet.png", "--side", 16]
    assert draw_sheet(monkeypatch, *common, "--decoders", tokenizer_folder, tmp_path / "other", tokenizer_folder) == 0
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.width == 3 * 64 + 4 * 8


def test_a_sheet_is_written_or_refused_for_its_size(
    tmp_path, photos, tokenizer_folder, decoders_folder, monkeypatch, capsys
):
    common = ["--decoders", tokenizer_folder, "--images", photos, "--out", tmp_path / "sheet.png", "--side", 16]
    assert draw_sheet(monkeypatch, *common, "--photo", "photo2", "photo0") == 0
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.width == 2 * 64 + 3 * 8  # images of 64 x 64
    extra = ["--decoders", f"{decoders_folder}:gan", f"{decoders_folder}:flow@2", "--columns", 2]
    assert draw_sheet(monkeypatch, *common, *extra) == 0
    with Image.open(tmp_path / "sheet.png") as drawn:
        assert drawn.width == 2 * 64 + 3 * 8 and drawn.height > 5 * 64  # two images, one crop and two
    assert draw_sheet(monkeypatch, *common, "--megabytes", 0.01) == 2
    assert draw_sheet(monkeypatch, *common, "--photo", "photo9") == 2
    said = capsys.readouterr().err
    assert "MB, and 0.01 are allowed: name fewer photos, decoders or crops, or raise --megabytes." in said
    assert "There is no photo 'photo9': choose from 3, such as photo0, photo1, photo2." in said
