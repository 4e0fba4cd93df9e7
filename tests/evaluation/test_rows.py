"""Quality tables: labels, formats, order, and which direction is better."""

from vistok.evaluation.quality import Quality
from vistok.evaluation.rows import HEADLINES, ROWS, headline_figures, quality_rows


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
