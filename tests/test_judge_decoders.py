"""scripts/judge_decoders.py and decoder_sheet.py: what is typed, patches, resuming, the table, and every pixel of a sheet."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import vistok
from decoder_cases import SMALL, draw
from samples import ARCHITECTURE, noise_image, small_tokenizer
from vistok.evaluation.spectrum import radial_power
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.decoders.table import DECODERS
from vistok.tokenizer.folder.save_load import save_tokenizer
from vistok.tokenizer.preprocessing import PreprocessingConfig

SCRIPTS = Path(__file__).parents[1] / "scripts"
TINY = "test_efficientnet"


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(TINY).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for index in range(3):
        noise_image(20, 24, index).resize((80, 96)).save(folder / f"photo{index}.png")
    return folder


def test_decoders_by_what_is_typed():
    from decoder_judging.named import Spec, parse_spec

    expected = {
        "photo-f8": Spec("plain", "photo-f8"),
        "runs/x/export:generative": Spec("generative", "runs/x/export", "generative"),
        "runs/x:flow@25": Spec("flow, 25 steps", "runs/x", "flow", 25),
        "one step=runs/x:flow@1": Spec("one step", "runs/x", "flow", 1),
        "hf://owner/repo": Spec("plain", "hf://owner/repo"),
        "hf://owner/repo:gan": Spec("gan", "hf://owner/repo", "gan"),
        "hf://owner/repo@main:gan": Spec("gan", "hf://owner/repo@main", "gan"),
    }
    assert {text: parse_spec(text) for text in expected} == expected
    with pytest.raises(ValueError, match="'' names no decoder: give LABEL=FOLDER:NAME@STEPS, of which only FOLDER is"):
        parse_spec("")


def test_patches_reach_from_border_to_border():
    from decoder_judging.photos import patches

    pixels = torch.arange(2 * 3 * 20 * 31).float().reshape(2, 3, 20, 31)
    cut = patches(pixels, 8, 3)
    corners = [(top, left) for top in (0, 6, 12) for left in (0, 12, 23)]  # 11.5 rounds to the even side
    assert torch.equal(cut, torch.cat([pixels[:, :, y : y + 8, x : x + 8] for y, x in corners]))
    with pytest.raises(ValueError, match="Photos of 20 x 31 have no patches of 21 pixels: give a smaller --patch"):
        patches(pixels, 21, 3)


def test_statistics_are_those_of_all_patches_of_all_photos():
    from decoder_judging.photos import PatchDistance, patches

    pixels = torch.randn(5, 3, 32, 32)
    judge = PatchDistance(lambda cut: cut.mean(dim=(2, 3)), side=16, per_image=5)
    assert judge.per_image() == 9  # a square of at least 5
    found = judge.statistics(list(pixels.split([2, 3])))
    rows = patches(pixels, 16, 3).double().mean(dim=(2, 3))
    assert int(found.count) == 45
    torch.testing.assert_close(found.mean, rows.mean(dim=0), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found.scatter / 44, torch.cov(rows.T), rtol=1e-5, atol=1e-8)


@pytest.fixture(scope="module")
def decoders_folder(tokenizer_folder, tmp_path_factory):
    """The small tokenizer with two decoders whose noise shows."""
    tokenizer = vistok.load(tokenizer_folder, device="cpu")
    for name, kind in (("gan", "noise_channels"), ("flow", "residual_unet")):
        torch.manual_seed(1)
        extra = parse_choice(DECODERS, SMALL[kind], "decoder").build(ARCHITECTURE, tokenizer.model.quantizer.dim)
        extra.start_from(tokenizer.model.plain)
        draw(extra)
        tokenizer.model.decoders[name] = extra.eval().requires_grad_(False)
    folder = tmp_path_factory.mktemp("decoders")
    tokenizer.save_pretrained(folder)
    return folder


def test_decoders_of_a_folder_with_their_steps(tokenizer_folder, decoders_folder):
    from decoder_judging.named import open_decoder, open_plain, parse_spec

    plain = open_plain(str(tokenizer_folder), "cpu")
    tokens = torch.arange(64).reshape(1, 1, 8, 8)
    tokenizer = vistok.load(decoders_folder, device="cpu")
    digests = {plain.digest}
    for name in (":gan", ":flow", ":flow@1", ":flow@8"):
        decoder = open_decoder(parse_spec(f"{decoders_folder}{name}"), plain)
        kind, _, steps = name.removeprefix(":").partition("@")
        tokenizer.model.decoders[kind].steps = int(steps or 1)
        expected = [tokenizer.decode(tokens, output="tensor", decoder=kind, seed=seed) * 2 - 1 for seed in (0, 5)]
        assert all(map(torch.equal, [decoder.decode(tokens, seed) for seed in (0, 5)], expected))
        assert not torch.equal(*expected) and not decoder.is_plain
        digests.add(decoder.digest)
    assert len(digests) == 4  # flow takes one step by itself
    again = open_decoder(parse_spec(str(decoders_folder)), plain)
    assert again.is_plain and again.digest == plain.digest
    assert torch.equal(again.decode(tokens, 3), plain.decode(tokens, 0))


def test_decoders_that_cannot_be_judged_are_refused(tokenizer_folder, decoders_folder, tmp_path):
    from decoder_judging.named import open_decoder, open_plain, parse_spec

    plain = open_plain(str(tokenizer_folder), "cpu")
    other = tmp_path / "other"
    save_tokenizer(other, small_tokenizer(seed=1), ARCHITECTURE, PreprocessingConfig(size=64), "# other\n")
    refused = {
        f"{decoders_folder}:gan@2": "gan, 2 steps is asked for 2 steps, but takes 1 to 1: give fewer",
        f"{decoders_folder}:flow@26": "flow, 26 steps is asked for 26 steps, but takes 1 to 25: give fewer",
        f"{decoders_folder}@3": "plain, 3 steps asks the plain decoder for 3 steps: leave @3 out",
        f"{decoders_folder}:fgm": "decoder is 'fgm', but this tokenizer has plain, flow, gan: give one of these",
        f"{other}": "The tokenizer of plain has the fingerprint .{12}, and the first one .{12}: compare decoders of the same",
    }
    for text, message in refused.items():
        with pytest.raises(ValueError, match=message):
            open_decoder(parse_spec(text), plain)


def judge(out, photos, weights, *decoders, monkeypatch, options=()):
    import judge_decoders

    networks = ["--perceptual", f"{TINY}={weights}", "--frechet", f"{TINY}={weights}"]
    sizes = ["--images", str(photos), "--patches", "40", "--patch", "32", "--out", str(out), *options]
    monkeypatch.setattr(sys, "argv", ["judge_decoders.py", *sizes, *networks, "--decoders", *map(str, decoders)])
    return judge_decoders.main()


def test_rows_are_written_and_kept(tmp_path, photos, weights, tokenizer_folder, monkeypatch, capsys):
    import judge_decoders

    out = tmp_path / "decoders.json"
    assert judge(out, photos, weights, tokenizer_folder, monkeypatch=monkeypatch) == 0
    written = json.loads(out.read_text())
    (row,) = written["rows"]
    assert written["settings"]["patches"] == 3 * 16 and written["settings"]["photos"] == 3
    assert row["label"] == "plain" and row["figures"]["images"] == 3 and row["frechet"] > 0
    assert row["figures"]["seed_variance"] is None and row["plain_milliseconds"] > 0
    assert "| plain | " in capsys.readouterr().out
    monkeypatch.setattr(judge_decoders, "row_of", lambda *_: pytest.fail("the row is there"))
    assert judge(out, photos, weights, tokenizer_folder, monkeypatch=monkeypatch) == 0
    assert json.loads(out.read_text()) == written
    assert judge(out, photos, weights, tokenizer_folder, monkeypatch=monkeypatch, options=["--count", "2"]) == 2
    assert "holds rows of other settings: remove it, or name another file with --out." in capsys.readouterr().err


def test_extra_decoders_come_after_the_plain_one(tmp_path, photos, weights, decoders_folder, monkeypatch, capsys):
    import judge_decoders

    out, whole = tmp_path / "decoders.json", f"{decoders_folder}"
    options = ["--count", "1"]
    first = [whole, f"{whole}:gan", f"two={whole}:flow@2"]
    assert judge(out, photos, weights, *first, monkeypatch=monkeypatch, options=options) == 0
    before = json.loads(out.read_text())["rows"]
    assert [row["label"] for row in before] == ["plain", "gan", "two"]
    assert all(row["figures"]["seed_variance"] > 0 for row in before[1:])
    measure = judge_decoders.row_of
    measured = []
    monkeypatch.setattr(judge_decoders, "row_of", lambda *given: measured.append(given[0].label) or measure(*given))
    second = [f"gan={whole}:flow", f"two={whole}:flow@2"]  # another decoder under the name of the first
    assert judge(out, photos, weights, *second, monkeypatch=monkeypatch, options=options) == 0
    rows = json.loads(out.read_text())["rows"]
    assert measured == ["gan"] and [row["label"] for row in rows] == ["plain", "gan", "two"]
    assert rows[1]["digest"] != before[1]["digest"] and rows[2] == before[2]
    assert judge(out, photos, weights, *second, second[0], monkeypatch=monkeypatch, options=options) == 2
    assert "Two decoders are called 'gan': give them labels, LABEL=FOLDER:NAME." in capsys.readouterr().err


def test_a_row_has_the_figures_of_its_images(photos, weights, tokenizer_folder):
    import argparse

    import judge_decoders

    from decoder_judging.named import open_plain
    from decoder_judging.photos import read_photos

    plain = open_plain(str(tokenizer_folder), "cpu")
    read = read_photos([str(photos)], plain.tokenizer, None)
    assert read.names == ["photo0", "photo1", "photo2"]
    arguments = argparse.Namespace(
        perceptual=f"{TINY}={weights}", frechet=f"{TINY}={weights}", patches=27, patch=32, seeds=[0, 1]
    )
    pixels = torch.cat(read.batches())
    whole = plain._replace(label="whole", is_plain=False, decode=lambda tokens, seed: pixels[: len(tokens)] + 0 * seed)
    row = judge_decoders.row_of(whole, plain, judge_decoders.build_judge(arguments, read, torch.device("cpu")))
    assert row["frechet"] == pytest.approx(0, abs=1e-9) and row["without_window"] == pytest.approx([1] * 4, rel=1e-6)
    assert row["figures"]["psnr"] is None or row["figures"]["psnr"] > 100
    row = judge_decoders.row_of(plain, plain, judge_decoders.build_judge(arguments, read, torch.device("cpu")))
    decoded = (plain.decode(plain.tokenizer.encode_pixels(pixels), 0).clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1
    bands = [radial_power(side, window=False).bands.sum(dim=0) for side in (decoded, pixels)]
    assert row["without_window"] == pytest.approx((bands[0] / bands[1]).tolist(), rel=1e-6)


def test_rows_become_a_table():
    from decoder_judging.table import markdown

    bands = {"power/0.125-0.25": 0.931, "power/0.25-0.5": 0.5, "power/0.5-0.75": 1.07, "power/0.75-1": 0.04}
    plain = {"psnr": 27.331, "ssim": 0.7491, "perceptual": 0.5608, "spectrum_error": 6.92, "agreement": 0.6605} | bands
    plain |= {"high_power_kept": 0.2, "seed_variance": None, "seed_spread": None, "milliseconds": 50.0}
    other = plain | {"high_power_kept": 0.6, "seed_variance": 0.00123, "seed_spread": 0.4, "milliseconds": 75.0}
    common = {"frechet": 12.5, "plain_milliseconds": 50.0}
    rows = [{"label": name, "is_plain": name == "plain", "figures": each} | common for name, each in
            (("plain", plain), ("gan", other))]  # fmt: skip
    head, line, *cells = markdown(rows).splitlines()
    assert head.count("|") == line.count("|") == cells[0].count("|")
    assert cells[0] == (
        "| plain | 27.33 dB | 0.749 | 0.561 | 12.5 | .93 .50 1.07 .04 | - | 6.92 dB | 66.0% | - | - | 50 | 1.0 |"
    )
    assert cells[1].startswith("| gan |") and cells[1].endswith("| 50% | 6.92 dB | 66.0% | 1.2e-03 | 0.40 | 75 | 1.5 |")


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
