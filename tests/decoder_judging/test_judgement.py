"""scripts/judge_decoders.py: patches, rows that are written and kept, their figures, and the table."""

import json
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

from vistok.evaluation.spectrum import radial_power

TINY = "test_efficientnet"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(TINY).state_dict(), path)
    return path


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
    monkeypatch.setattr(judge_decoders, "row_of", lambda *_: row | {"label": "measured"})
    out.write_text(json.dumps(written | {"rows": [row | {"fingerprint": "of another encoder"}]}))
    assert judge(out, photos, weights, tokenizer_folder, monkeypatch=monkeypatch) == 0
    assert [each["label"] for each in json.loads(out.read_text())["rows"]] == ["measured"]
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
