import types

import numpy as np
import pytest
import torch

from pages import NAN, Page
from vistok.report.codebooks import codebook_views, rank_bars
from vistok.report.codemap import MAX_CODES, principal_plane
from vistok.report.content import CodebookView, Report
from vistok.report.page import render
from vistok.report.shades import SHADES, shades_of_use
from vistok.tokenizer.quantizers import build_quantizer

VQ = {"name": "vq", "dim": 4, "codebook_size": 8}


@pytest.mark.parametrize("codes", [1, 2, 127, 128, 129, 1000, 65_536])
def test_bars_hold_every_code_once_and_every_token(codes):
    counts = np.random.default_rng(codes).zipf(1.5, codes) % 1000
    bars = rank_bars(counts)
    assert sum(bar.tokens for bar in bars) == counts.sum()
    assert [bar.first for bar in bars] == [1] + [bar.last + 1 for bar in bars[:-1]] and bars[-1].last == codes
    assert len(bars) <= 128
    means = [bar.mean for bar in bars]
    assert means == sorted(means, reverse=True)


def test_a_bar_a_code_is_the_sorted_counts():
    assert [bar.mean for bar in rank_bars(np.array([3, 0, 9, 1]))] == [9, 3, 1, 0]


def test_a_codebook_without_tokens_is_drawn_unused():
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.zeros(4, np.int64), np.eye(4))])))
    assert "No token was counted." in page.text and "100.0%" in page.text
    assert [path["class"] for path in page.all("path")] == ["unused", "hole"]


@pytest.mark.parametrize(("tokens", "mean"), [(16, "0.016"), (90, "0.09"), (140, "0.1"), (12_345_000, "12,345.0")])
def test_a_mean_below_a_tenth_keeps_its_digits(tokens, mean):
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.array([tokens] + [0] * 999), None)])))
    assert f"{mean} on average" in page.text


def test_even_use_of_one_code_is_drawn():
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.array([4]), np.ones((1, 2)))])))
    assert [path["class"] for path in page.all("path")] == ["bars", f"u{SHADES - 1}"]


def test_the_map_draws_every_code_once_hollow_if_unused():
    counts = np.array([0, 0, 1, 10, 100, 1000])
    codes = np.random.default_rng(0).normal(size=(6, 4))
    page = Page(render(Report("t", codebooks=[CodebookView("c", counts, codes)])))
    drawn = {path["class"]: path["d"].count("M") for path in page.all("path")}
    assert drawn.pop("unused") == drawn.pop("hole") == 2
    assert sum(number for name, number in drawn.items() if name != "bars") == 4


def test_a_large_codebook_is_sampled_and_says_so():
    codes = np.random.default_rng(0).normal(size=(MAX_CODES + 900, 3))
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.ones(MAX_CODES + 900, np.int64), codes)])))
    assert "4,096 of 4,996 codes, drawn at random" in page.text
    assert sum(path["d"].count("M") for path in page.all("path") if path["class"] != "bars") == MAX_CODES


def test_a_codebook_without_a_table_has_no_map():
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.array([1, 2]))])))
    assert "There is no table of codes to map" in page.text


def test_codes_that_are_not_finite_are_left_out():
    codes = np.array([[1.0, 2.0], [NAN, 0.0], [3.0, 1.0]])
    assert (
        "Left out because not finite: 1."
        in Page(render(Report("t", codebooks=[CodebookView("c", np.ones(3), codes)]))).text
    )
    page = Page(render(Report("t", codebooks=[CodebookView("c", np.ones(1), codes[1:2])])))
    assert "No code is finite" in page.text


def test_shades_go_up_with_use():
    assert shades_of_use(np.array([0, 1, 10, 100, 1000])).tolist() == [-1, 0, 2, 4, 5]
    assert shades_of_use(np.array([0, 7, 7])).tolist() == [-1, SHADES - 1, SHADES - 1]
    assert shades_of_use(np.zeros(2, np.int64)).tolist() == [-1, -1]


@pytest.mark.parametrize("dim", [2, 3, 16])
def test_projection_is_that_of_a_singular_value_decomposition(dim):
    codes = torch.randn(200, dim, dtype=torch.float64) * torch.linspace(1, 3, dim, dtype=torch.float64) + 5
    points, variance = principal_plane(codes.numpy())
    centred = codes - codes.mean(0)
    _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:2].T
    signs = np.sign((points * expected.numpy()).sum(0))
    np.testing.assert_allclose(points * signs, expected.numpy(), atol=1e-9)
    assert variance == pytest.approx(float((singular[:2] ** 2).sum() / (singular**2).sum()))
    low_rank = (centred @ torch.pca_lowrank(codes, q=dim)[2])[:, :2].numpy()
    np.testing.assert_allclose(np.abs(points), np.abs(low_rank), atol=1e-8)


def test_projection_does_not_depend_on_where_or_how_the_codes_are_held():
    codes = np.random.default_rng(0).normal(size=(50, 4))
    points, _ = principal_plane(codes)
    np.testing.assert_allclose(points, principal_plane(codes + 100)[0], atol=1e-9)
    np.testing.assert_allclose(points, principal_plane(codes.astype(np.float32))[0], atol=1e-5)


def test_projection_of_codes_on_a_line_or_a_point():
    points, variance = principal_plane(np.array([[1.0], [3.0]]))
    assert points.tolist() == [[-1, 0], [1, 0]] and variance == 1
    points, variance = principal_plane(np.ones((3, 5)))
    assert not points.any() and variance == 1


def views(**values):
    quantizer = build_quantizer(values)
    counts = torch.arange(quantizer.num_codebooks * quantizer.vocab_size).view(quantizer.num_codebooks, -1)
    return quantizer, codebook_views(quantizer, counts)


def test_a_table_is_shown_with_its_counts():
    quantizer, (view,) = views(**VQ)
    assert view.name == "codebook" and view.counts.tolist() == list(range(8))
    assert torch.equal(torch.from_numpy(view.codes), quantizer.codes())


def test_levels_show_their_own_tables_and_a_shared_one_is_shown_for_each():
    quantizer, found = views(name="residual", depth=3, quantizer=VQ)
    assert [view.name for view in found] == ["codebook 0", "codebook 1", "codebook 2"]
    assert all(
        torch.equal(torch.from_numpy(v.codes), level.codes()) for v, level in zip(found, quantizer.levels, strict=True)
    )
    _, shared = views(name="residual", depth=3, shared=True, quantizer=VQ)
    assert (shared[0].codes == shared[2].codes).all() and shared[2].counts[0] == 16


def test_a_table_is_that_of_any_quantizer_with_a_method_for_it():
    quantizer = build_quantizer({"name": "fsq", "levels": [3, 3]})
    quantizer.codes = torch.zeros(9, 2)  # data, not a method
    assert codebook_views(quantizer, torch.ones(1, 9))[0].codes is None
    quantizer.codes = types.MethodType(lambda self: torch.ones(9, 2), quantizer)
    assert codebook_views(quantizer, torch.ones(1, 9))[0].codes.shape == (9, 2)


def test_a_quantizer_without_a_table_has_none():
    _, (view,) = views(name="fsq", levels=[3, 3])
    assert view.codes is None and len(view.counts) == 9
