"""Quality tables: labels, formats, order, and which direction is better."""

import math

from vistok.evaluation.quality import Quality
from vistok.evaluation.rows import HEADLINES, ROWS, finite_figures, headline_figures, missing_notes, quality_rows


def test_every_figure_of_a_quality_has_a_row() -> None:
    assert set(Quality._fields) - {"images"} <= set(ROWS)
    assert set(HEADLINES) <= set(ROWS)


def test_rows_follow_the_table_then_come_frechet_distances() -> None:
    values = {"frechet/resnet18": 1.0, "images": 3, "usage": 0.25, "psnr": 30.0, "effective_rank": None}
    assert quality_rows(values) == [
        ["PSNR", "30.00 dB", "higher"],
        ["codebook usage", "25.0%", "higher"],
        ["effective rank of the codes", "not measured", "higher"],
        ["Frechet distance, resnet18", "1.0000", "lower"],
    ]


def test_columns_are_compared_on_what_all_of_them_have() -> None:
    before, after = {"psnr": 30.0, "lpips": 0.1}, {"psnr": 31.0, "ssim": 0.9}
    assert quality_rows(before, after) == [["PSNR", "30.00 dB", "31.00 dB", "higher"]]


def test_headlines_are_a_selection() -> None:
    assert headline_figures({"tokens": 5, "lpips": 0.12345, "psnr": 30.0}) == {
        "PSNR": "30.00 dB",
        "LPIPS (VGG)": "0.1235",
    }


def test_what_is_not_finite_is_none_in_json():
    figures = {"psnr": math.inf, "ssim": 0.5, "lpips": None, "distortion": math.nan, "tokens": 3}
    assert finite_figures(figures) == {"psnr": None, "ssim": 0.5, "lpips": None, "distortion": None, "tokens": 3}


def test_what_was_not_measured_is_said_by_its_label():
    notes = missing_notes({"lpips": "No weights.", "frechet/resnet18": "Too few images."})
    assert notes == ["LPIPS (VGG) was not measured. No weights.", "frechet/resnet18 was not measured. Too few images."]
    both = missing_notes({"psnr": "There is no decoder.", "lpips": "No weights.", "ssim": "There is no decoder."})
    assert both == ["PSNR, SSIM were not measured. There is no decoder.", "LPIPS (VGG) was not measured. No weights."]


def test_a_mean_of_counts_has_a_digit_where_it_has_a_fraction() -> None:
    row = ROWS["tokens_per_image"]
    shown = {205 / 3: "68.3", 256: "256", 1024.0: "1,024", 1_234_567.04: "1,234,567", 40.5: "40.5"}
    assert {value: row.text(value) for value in shown} == shown
    assert row.difference(205 / 3, 64) == "+4.3" and ROWS["images_per_second"].text(2.0) == "2.0"


def test_differences_have_a_sign_and_the_form_of_their_figure() -> None:
    values = {"psnr": "-1.25 dB", "usage": "+12.5%", "perplexity": "+1,000", "tokens_per_image": "+0"}
    differences = {
        "psnr": (18.75, 20),
        "usage": (0.25, 0.125),
        "perplexity": (1500, 500),
        "tokens_per_image": (256, 256),
    }
    assert {name: ROWS[name].difference(*pair) for name, pair in differences.items()} == values
    assert ROWS["rfid"].difference(None, 2.19) == "not measured"
