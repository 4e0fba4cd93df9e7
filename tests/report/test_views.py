import torch

from vistok.report.views import codebook_views
from vistok.tokenizer.quantizers import build_quantizer

VQ = {"name": "vq", "dim": 4, "codebook_size": 8}


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


def test_a_quantizer_without_a_table_has_none():
    _, (view,) = views(name="fsq", levels=[3, 3])
    assert view.codes is None and len(view.counts) == 9
